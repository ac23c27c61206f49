"""A snapshot, the fields of one rank at one step, and the series that one rank makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real

from sim_clients.about import About, Field, checked_about, parts
from sim_clients.contract import Contract, Layout, check_blocks, layout_of
from sim_clients.errors import (
    IncompleteSnapshot,
    KeyMissing,
    SnapshotDropped,
    SnapshotError,
    TensorError,
)
from sim_clients.fields import Array, FieldType, Form, wire_array
from sim_clients.flow import Outcome
from sim_clients.keys import SnapshotName, checked_field
from sim_clients.new_fields import read_only


@dataclass(frozen=True)
class Snapshot:
    """The fields of one rank at one step.

    Attributes:
        producer: name of the application or ensemble member that made it.
        rank: MPI rank within the producer, 0 for a serial solver.
        step: the solver's step.
        fields: name -> array.
        time: physical time in s, None where the solver gave none.
        about: name -> what is known of the field: units, names of dimensions, block of the global array.
        outcome: what became of it when it was put; of one that was read, where it was.
    """

    producer: str
    rank: int
    step: int
    fields: Mapping[str, Array] = field(repr=False)
    time: float | None = None
    about: Mapping[str, About] = field(default_factory=dict, repr=False)
    outcome: Outcome = Outcome.STORED

    @property
    def name(self) -> str:
        """The name of the dataset, `<producer>.<rank>.<step>`."""
        return str(SnapshotName(self.producer, self.rank, self.step))


Place = Callable[[str, FieldType, About], Array]
"""Gives the array that a field is received into, of its dtype and shape, from its name and what it is."""
Agree = Callable[[Contract], Contract]
"""Offers a contract for a stream, and returns the one that holds."""


def with_read_only_fields(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot, whose fields are read-only from now on."""
    for value in snapshot.fields.values():
        read_only(value)
    return snapshot


def prepared(
    name: SnapshotName, fields: Mapping[str, Array | Field], time: float | None, form: Form = wire_array
) -> Snapshot:
    """Check all of a snapshot that can be seen of it alone, and bring its fields into a client's form.

    Args:
        name: who makes it, and its step.
        form: brings a field into the form that the client sends.

    Raises:
        SnapshotError, TensorError, NameRefused: see `Client.put_snapshot`.
    """
    if not isinstance(name.step, Integral) or name.step < 0:
        raise SnapshotError(str(name), f"a step is an integer of 0 or more, got {name.step!r}")
    if not fields:
        raise SnapshotError(str(name), "it has no fields")
    if time is not None and not isinstance(time, Real):
        raise SnapshotError(str(name), f"a time is a number, s, got {time!r}")
    arrays: dict[str, Array] = {}
    about: dict[str, About] = {}
    for key, value in fields.items():
        array, known = parts(value)
        arrays[checked_field(key)] = form(key, array)
        about[key] = checked_about(key, array.shape, known)
    at = None if time is None else float(time)
    return Snapshot(name.producer, name.rank, int(name.step), arrays, at, about)


class SnapshotSeries:
    """What one rank has put in one stream so far, and so what its next snapshot must look like.

    Args:
        stream: its name.
        agree: asked with the first snapshot for the contract of the stream.
    """

    def __init__(self, producer: str, rank: int, stream: str, agree: Agree) -> None:
        self._producer = producer
        self._rank = rank
        self._stream = stream
        self._agree = agree
        self._last_step = -1
        self._contract: Contract | None = None
        self._first: Layout = {}

    def prepare(self, step: int, fields: Mapping[str, Array | Field], time: float | None) -> Snapshot:
        """Check the next snapshot before anything of it is stored.

        Raises:
            SnapshotError, TensorError, NameRefused: see `Client.put_snapshot`.
        """
        snapshot = prepared(SnapshotName(self._producer, self._rank, step), fields, time)
        if snapshot.step <= self._last_step:
            raise SnapshotError(
                snapshot.name, f"its step is not greater than the one before it, {self._last_step}"
            )
        layout = layout_of(snapshot.fields, snapshot.about)
        if layout != self._first:
            self._check(snapshot.name, layout)
        return snapshot

    def _check(self, name: str, layout: Layout) -> None:
        mine = Contract.of(name, layout)
        contract = self._agree(mine) if self._contract is None else self._contract
        contract.check(self._stream, mine)
        if self._contract is None:
            self._contract, self._first = contract, layout
        check_blocks(name, layout, self._first)

    @property
    def contract(self) -> Contract | None:
        """What the snapshots of the stream have, as this rank knows it; None before its first snapshot."""
        return self._contract

    def agree_again(self, name: str) -> None:
        """Offer the contract anew: the stream has lost it, or has another one by now.

        Args:
            name: of the snapshot that is to be announced.

        Raises:
            SnapshotError: it does not keep the one that holds.
        """
        if self._contract is not None:
            contract = self._agree(self._contract)
            contract.check(self._stream, replace(self._contract, since=name))
            self._contract = contract

    def stored(self, snapshot: Snapshot) -> None:
        """Take note that a prepared snapshot has reached the database."""
        self._last_step = snapshot.step


def read_in_turn(read: Callable[[int], Snapshot], positions: Sequence[int]) -> list[Snapshot]:
    """Read snapshots one after the other, up to one behind the first that cannot be read.

    Raises:
        ClientError: the first cannot be read; see `Client.get_snapshot`.
    """
    found: list[Snapshot] = []
    for position in positions:
        try:
            found.append(read(position))
        except (SnapshotDropped, IncompleteSnapshot, SnapshotError, TensorError, KeyMissing):
            if not found:
                raise
            break
    return found


def selected(snapshot: Snapshot, fields: Sequence[str] | None, place: Place | None) -> Snapshot:
    """Return a snapshot with some of its fields, copied to where the caller wants them.

    Args:
        snapshot: whose arrays are the caller's.
        fields: names; all by default.
        place: see `Client.get_snapshot`; where they are, by default.

    Raises:
        SnapshotError: it has no field of a name.
        TensorError: an array that `place` gave has not the field's dtype and shape.
    """
    names = wanted(snapshot.name, snapshot.fields, fields)
    arrays = {name: snapshot.fields[name] for name in names}
    about = {name: snapshot.about[name] for name in names}
    if place is not None:
        for name, array in arrays.items():
            is_now = FieldType(array.dtype.name, array.shape)
            to = place(name, is_now, about[name])
            if not to.flags.writeable:
                raise TensorError(name, "the array to be filled is read-only")
            ours = FieldType(to.dtype.name, to.shape)
            if ours != is_now:
                raise TensorError(name, f"the database has {is_now}, the array to be filled is {ours}")
            to[...] = array
            arrays[name] = to
    return replace(snapshot, fields=arrays, about=about)


def wanted(snapshot: str, there: Mapping[str, object], fields: Sequence[str] | None) -> Sequence[str]:
    """Return the names of the fields that are asked for.

    Raises:
        SnapshotError: the snapshot has no field of a name.
    """
    for name in fields or ():
        if name not in there:
            raise SnapshotError(snapshot, f"it has no field {name!r}")
    return list(there) if fields is None else fields
