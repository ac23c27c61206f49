"""What is known of a field beside its numbers: units, names of its dimensions, its block of the global array.

It lies in the metadata of each snapshot, beside the time, as plain SmartRedis metadata: `T.units` is a
string, `T.dims` has a string and `T.shape` and `T.offset` an int64 for each dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from sim_clients import keys
from sim_clients.errors import SnapshotError, TensorError
from sim_clients.fields import Array

MAX_UNITS_BYTES = 80


@dataclass(frozen=True)
class Block:
    """The part of a global array that one rank has.

    Attributes:
        shape: of the global array.
        offset: where the block begins in it, in each dimension, from 0.
    """

    shape: tuple[int, ...]
    offset: tuple[int, ...]


@dataclass(frozen=True)
class About:
    """What is known of a field; None: nothing.

    Attributes:
        units: for example "K", "m s-1", "1" for none.
        dims: names of the dimensions, in the order of the array's.
        block: the part of the global array that the field is.
    """

    units: str | None = None
    dims: tuple[str, ...] | None = None
    block: Block | None = None


NOTHING = About()


@dataclass(frozen=True, eq=False)
class Field:
    """An array with what is known of it, as `put_snapshot` takes it in place of the array alone.

    Attributes:
        values: what this rank owns, without ghost cells; a view such as `T[1:-1, 1:-1]` is not copied.
        units: at most 80 bytes of text without commas.
        dims: one name for each dimension.
        block: the part of the global array that `values` are.
    """

    values: Array = field(repr=False)
    units: str | None = None
    dims: Sequence[str] | None = None
    block: Block | None = None


def parts(value: Array | Field) -> tuple[Array, About]:
    """Return the array of what was given as a field, and what is known of it, unchecked."""
    if not isinstance(value, Field):
        return value, NOTHING
    dims = value.dims if value.dims is None or isinstance(value.dims, str) else tuple(value.dims)
    return value.values, About(value.units, dims, value.block)  # type: ignore[arg-type]


def checked_about(name: str, shape: tuple[int, ...], about: About) -> About:
    """Return what is known of a field, in plain types, where it fits the field.

    Args:
        name: the field's.
        shape: of this rank's array.

    Raises:
        TensorError: units that are no short text, dims or a block of another number of dimensions, a block
            that does not lie within the global array.
        NameRefused: a dimension's name.
    """
    if about is NOTHING:
        return about
    _check_units(name, about.units)
    _check_dims(name, len(shape), about.dims)
    if about.block is None:
        return about
    return About(about.units, about.dims, _checked_block(name, shape, about.block))


def _check_units(name: str, units: object) -> None:
    if units is None:
        return
    if not isinstance(units, str):
        raise TensorError(name, f"its units are text, got {units!r}")
    length = len(units.encode(errors="surrogatepass"))
    bad = any(letter < " " or letter in "\x7f," or "\ud800" <= letter <= "\udfff" for letter in units)
    if bad or not 1 <= length <= MAX_UNITS_BYTES or units != units.strip(" "):
        raise TensorError(
            name,
            f"its units {units[:MAX_UNITS_BYTES]!r} are not 1 to {MAX_UNITS_BYTES} bytes of text without "
            "commas and control characters",
        )


def _check_dims(name: str, rank: int, dims: object) -> None:
    if dims is None:
        return
    if not isinstance(dims, tuple):
        raise TensorError(name, f"dims are a name for each dimension, as ('y', 'x'), got {dims!r}")
    for at, dim in enumerate(dims):
        if keys.checked("dimension", dim) in dims[:at]:
            raise TensorError(name, f"two of its dimensions are called {dim!r}")
    if len(dims) != rank:
        raise TensorError(name, f"it has {rank} dimensions, and names for {len(dims)}")


def _checked_block(name: str, shape: tuple[int, ...], block: object) -> Block:
    if not isinstance(block, Block):
        raise TensorError(name, f"a block is Block(shape=(128, 128), offset=(64, 0)), got {block!r}")
    plain = Block(_integers(name, block.shape), _integers(name, block.offset))
    if not _lies_within(plain, shape):
        where = f"the block {shape} at {plain.offset}"
        raise TensorError(name, f"{where} does not lie within the global array {plain.shape}")
    return plain


def _lies_within(block: Block, shape: tuple[int, ...]) -> bool:
    """Tell whether a block of some shape is a part of its global array, whose size fits in 64 bits."""
    return len(block.shape) == len(block.offset) == len(shape) and all(
        0 <= start <= end - length and end < 2**63
        for start, end, length in zip(block.offset, block.shape, shape, strict=True)
    )


def _integers(name: str, numbers: object) -> tuple[int, ...]:
    if not isinstance(numbers, Sequence) or not all(isinstance(number, Integral) for number in numbers):
        raise TensorError(
            name, f"a block's shape and offset are integers for each dimension, got {numbers!r}"
        )
    return tuple(int(number) for number in numbers)


# ---- On the wire


def written(name: str, about: About) -> dict[str, Sequence[str] | Sequence[int]]:
    """Return the metadata of a field: their names, and the strings or integers of each."""
    metadata: dict[str, Sequence[str] | Sequence[int]] = {}
    if about.units is not None:
        metadata[keys.about(name, keys.UNITS)] = (about.units,)
    if about.dims is not None:
        metadata[keys.about(name, keys.DIMS)] = about.dims
    if about.block is not None:
        metadata[keys.about(name, keys.SHAPE)] = about.block.shape
        metadata[keys.about(name, keys.OFFSET)] = about.block.offset
    return metadata


Lists = Callable[[str], Sequence[object] | None]
"""Gives the values of a list of metadata, None where there is no such list."""


def read_about(snapshot: str, name: str, field_shape: tuple[int, ...], lists: Lists) -> About:
    """Return what a snapshot's metadata tell of a field.

    Args:
        snapshot: its name, for errors.
        name: the field's.
        field_shape: that of its array.

    Raises:
        SnapshotError: they are not what tells of a field of this shape.
    """
    rank = len(field_shape)
    units = _values(snapshot, name, keys.UNITS, lists, str, 1)
    dims = _values(snapshot, name, keys.DIMS, lists, str, rank)
    shape = _values(snapshot, name, keys.SHAPE, lists, int, rank)
    offset = _values(snapshot, name, keys.OFFSET, lists, int, rank)
    if (shape is None) != (offset is None):
        both = f"'{keys.about(name, keys.SHAPE)}' and '{keys.about(name, keys.OFFSET)}'"
        raise SnapshotError(snapshot, f"its metadata have one of {both}")
    block = None if shape is None or offset is None else Block(shape, offset)
    if block is not None and not _lies_within(block, field_shape):
        where = f"the block {field_shape} at {block.offset} of the global array {block.shape}"
        raise SnapshotError(snapshot, f"by its metadata the field {name!r} is {where}")
    found = About(None if units is None else units[0], dims, block)
    return NOTHING if found == NOTHING else found


def _values(
    snapshot: str, name: str, what: str, lists: Lists, kind: type, count: int
) -> tuple[Any, ...] | None:
    values = lists(keys.about(name, what))
    if values is None:
        return None
    if len(values) != count or not all(isinstance(value, kind) for value in values):
        metadata = keys.about(name, what)
        raise SnapshotError(snapshot, f"its metadata {metadata!r} are not what tells of a field")
    return tuple(values)
