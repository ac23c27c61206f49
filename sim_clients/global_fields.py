"""Fields whose blocks the ranks have put, as one xarray.DataArray: the only file that imports xarray.

    from sim_clients.global_fields import global_field

    T = global_field(client, "T", step=40)
    T.sel(y=slice(0, 64)).mean().item()

Each block goes from the database straight to its place in the global array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from sim_clients.about import About
from sim_clients.client import Client
from sim_clients.contract import Described
from sim_clients.errors import GlobalFieldError
from sim_clients.fields import Array, FieldType
from sim_clients.keys import DEFAULT_STREAM

try:
    import xarray
except ImportError as error:
    raise ImportError(
        "global fields need the package xarray: pip install xarray, or penstock[xarray]"
    ) from error

Positions = Mapping[int, int]
"""Rank -> position of its snapshot in the stream."""


def global_field(
    client: Client,
    name: str,
    step: int,
    *,
    producer: str | None = None,
    ranks: int | None = None,
    stream: str = DEFAULT_STREAM,
) -> xarray.DataArray:
    """Return a field of all ranks at one step.

    Args:
        client: of the database.
        name: of the field.
        step: of the solver.
        producer: who put it; need not be said where there is one in the stream.
        ranks: how many ranks it has: a missing one is named then. Without it, only cells that nobody has are
            noticed.
        stream: the list it was announced in.

    Returns:
        The global array. Its dims are those the solver gave, else dim_0, dim_1, …; the units are an
        attribute, the step and the physical time, s, are coordinates.

    Raises:
        GlobalFieldError: no snapshot of the step, or none of a rank; a field without a block; cells that
            nobody has; cells of which two ranks have different values.
        SnapshotError: a snapshot has no such field.
    """
    found = _found(client, name, producer, stream)
    if step not in found:
        there = f"those announced are {min(found)} to {max(found)}" if found else "none has been announced"
        raise GlobalFieldError(name, f"nobody has put a snapshot of step {step} in {stream!r}; {there}")
    return _assembled(client, name, step, found[step], ranks, stream)


def global_fields(
    client: Client,
    name: str,
    *,
    ranks: int,
    producer: str | None = None,
    stream: str = DEFAULT_STREAM,
) -> Iterator[xarray.DataArray]:
    """Yield a field of all ranks at each step that all of them have put so far, in the order of the steps.

    The stream is looked at once, and each step read when it is asked for; `xarray.concat(…, "step")` makes
    one array of several.

    Args:
        ranks: how many ranks the producer has.

    Raises:
        GlobalFieldError, SnapshotError: see `global_field`.
    """
    found = _found(client, name, producer, stream)
    for step in sorted(found):
        if len(found[step]) == ranks:
            yield _assembled(client, name, step, found[step], ranks, stream)


def _found(client: Client, name: str, producer: str | None, stream: str) -> dict[int, dict[int, int]]:
    """Return step -> rank -> position, of what one producer has put in a stream."""
    names = client.snapshot_names(stream=stream)
    producers = sorted({announced.producer for announced in names})
    if producer is None and len(producers) > 1:
        raise GlobalFieldError(name, f"{stream!r} has snapshots of {', '.join(producers)}: say producer=")
    found: dict[int, dict[int, int]] = {}
    for position, announced in enumerate(names):
        if producer in (None, announced.producer):
            found.setdefault(announced.step, {})[announced.rank] = position
    return found


def _assembled(
    client: Client, name: str, step: int, positions: Positions, ranks: int | None, stream: str
) -> xarray.DataArray:
    missing = [rank for rank in range(ranks or 0) if rank not in positions]
    if missing:
        who = ", ".join(map(str, missing))
        raise GlobalFieldError(name, f"no snapshot of step {step} has been announced by rank {who}")
    whole = _Whole(name, step)
    for rank, position in sorted(positions.items()):
        whole.receive(client, rank, position, stream)
    return whole.array()


class _Given(NamedTuple):
    """The cells that a rank has given: from `start` to before `end` in each dimension."""

    rank: int
    start: tuple[int, ...]
    end: tuple[int, ...]

    def common(self, other: _Given) -> tuple[slice, ...] | None:
        """Return the cells that both have given, None where there are none."""
        starts, ends = map(max, self.start, other.start), map(min, self.end, other.end)
        both = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
        return both if all(part.start < part.stop for part in both) else None

    def within(self, cells: tuple[slice, ...]) -> tuple[slice, ...]:
        """Return where some cells are in this rank's own array."""
        offsets = zip(cells, self.start, strict=True)
        return tuple(slice(part.start - start, part.stop - start) for part, start in offsets)


class _Whole:
    """A global array, and which rank has given which block of it."""

    def __init__(self, name: str, step: int) -> None:
        self._name = name
        self._step = step
        self._values: Array | None = None
        self._about = About()
        self._time: float | None = None
        self._given: list[_Given] = []
        self._shared = False

    def receive(self, client: Client, rank: int, position: int, stream: str) -> None:
        """Receive the block of a rank, straight into its place where no other rank has given a cell of it."""
        kept: list[Array] = []

        def place(_: str, is_now: FieldType, about: About) -> Array:
            part = self._next(rank, is_now, about)
            self._given.append(part)
            cells = tuple(map(slice, part.start, part.end))
            if any(part.common(before) for before in self._given[:-1]):
                kept.append(np.empty(is_now.shape, is_now.dtype))
                return kept[0]
            return self._array()[cells]

        snapshot = client.get_snapshot(position, stream, fields=[self._name], place=place)
        if kept:
            self._merge(self._given[-1], kept[0])
        if self._time is None or rank == self._given[0].rank:
            self._time = snapshot.time
        elif snapshot.time != self._time:
            raise self._error(
                f"the time of rank {rank} is {snapshot.time} s, "
                f"that of rank {self._given[0].rank} is {self._time} s"
            )

    def _next(self, rank: int, is_now: FieldType, about: About) -> _Given:
        block = about.block
        if block is None:
            raise self._error(f"rank {rank} has put it without its block of a global array")
        if self._values is None:
            self._values = np.empty(block.shape, is_now.dtype)
            self._about = about
        now = Described(is_now, about)
        was = Described(FieldType(self._values.dtype.name, self._values.shape), self._about)
        if str(now) != str(was):
            raise self._error(f"that of rank {rank} is {now}, that of rank {self._given[0].rank} is {was}")
        end = tuple(start + length for start, length in zip(block.offset, is_now.shape, strict=True))
        return _Given(rank, block.offset, end)

    def _merge(self, part: _Given, values: Array) -> None:
        """Take a block some of whose cells others have given: they must have the same values."""
        whole = self._array()
        for before in self._given[:-1]:
            if not (cells := part.common(before)):
                continue
            ours, theirs = values[part.within(cells)], whole[cells]
            differ = (ours != theirs) & ~((ours != ours) & (theirs != theirs))  # both may be NaN
            if differ.any():
                first = np.argwhere(differ)[0] + [cell.start for cell in cells]
                raise self._error(
                    f"the ranks {before.rank} and {part.rank} have different values of {int(differ.sum())} "
                    f"cells, the first is {tuple(map(int, first))}"
                )
        whole[tuple(map(slice, part.start, part.end))] = values
        self._shared = True

    def _array(self) -> Array:
        assert self._values is not None
        return self._values

    def array(self) -> xarray.DataArray:
        """Return the whole, every cell of which must have been given."""
        values = self._array()
        self._check_whole(values)
        dims = self._about.dims or tuple(f"dim_{i}" for i in range(values.ndim))
        coordinates: dict[str, Any] = {"step": ((), self._step, {})}
        if self._time is not None:
            coordinates["time"] = ((), self._time, {"units": "s"})
        return xarray.DataArray(
            values,
            dims=dims,
            coords={key: value for key, value in coordinates.items() if key not in dims},
            attrs={} if self._about.units is None else {"units": self._about.units},
            name=self._name,
        )

    def _check_whole(self, values: Array) -> None:
        cells = sum(prod(map(int.__sub__, part.end, part.start)) for part in self._given)
        if cells == values.size and not self._shared:
            return
        nobody = np.ones(values.shape, bool)
        for part in self._given:
            nobody[tuple(map(slice, part.start, part.end))] = False
        if nobody.any():
            first = tuple(map(int, np.argwhere(nobody)[0]))
            raise self._error(f"no rank has {nobody.sum()} of its {values.size} cells, the first is {first}")

    def _error(self, reason: str) -> GlobalFieldError:
        return GlobalFieldError(self._name, f"at step {self._step} {reason}")
