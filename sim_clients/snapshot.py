"""A snapshot, the fields of one rank at one step, and the series that one rank makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

from sim_clients.errors import SnapshotError
from sim_clients.fields import Array, FieldType, Form, check_layout, layout_of, wire_array
from sim_clients.flow import Outcome
from sim_clients.keys import SnapshotName, checked_field


@dataclass(frozen=True)
class Snapshot:
    """The fields of one rank at one step.

    Attributes:
        producer: name of the application or ensemble member that made it.
        rank: MPI rank within the producer, 0 for a serial solver.
        step: the solver's step.
        fields: name -> array.
        time: physical time in s, None where the solver gave none.
        outcome: what became of it when it was put; of one that was read, where it was.
    """

    producer: str
    rank: int
    step: int
    fields: Mapping[str, Array] = field(repr=False)
    time: float | None = None
    outcome: Outcome = Outcome.STORED

    @property
    def name(self) -> str:
        """The name of the dataset, `<producer>.<rank>.<step>`."""
        return str(SnapshotName(self.producer, self.rank, self.step))


class SnapshotSeries:
    """What one rank has put in one stream so far, and so what its next snapshot must look like.

    Args:
        form: brings a field into the form that the client sends.
    """

    def __init__(self, producer: str, rank: int, form: Form = wire_array) -> None:
        self._producer = producer
        self._rank = rank
        self._form = form
        self._last_step = -1
        self._layout: dict[str, FieldType] | None = None

    def prepare(self, step: int, fields: Mapping[str, Array], time: float | None) -> Snapshot:
        """Check the next snapshot before anything of it is sent, and bring it into the client's form.

        Raises:
            SnapshotError, TensorError, NameRefused: see `Client.put_snapshot`.
        """
        name = str(SnapshotName(self._producer, self._rank, step))
        self._check_step(name, step)
        if not fields:
            raise SnapshotError(name, "it has no fields")
        arrays = {checked_field(key): self._form(key, value) for key, value in fields.items()}
        if self._layout is not None:
            check_layout(name, arrays, self._layout)
        if time is not None and not isinstance(time, Real):
            raise SnapshotError(name, f"a time is a number, s, got {time!r}")
        at = None if time is None else float(time)
        return Snapshot(self._producer, self._rank, int(step), arrays, at)

    def stored(self, snapshot: Snapshot) -> None:
        """Take note that a prepared snapshot has reached the database."""
        self._last_step = snapshot.step
        self._layout = layout_of(snapshot.fields)

    def _check_step(self, name: str, step: int) -> None:
        if not isinstance(step, Integral) or step < 0:
            raise SnapshotError(name, f"a step is an integer of 0 or more, got {step!r}")
        if step <= self._last_step:
            raise SnapshotError(name, f"its step is not greater than the one before it, {self._last_step}")
