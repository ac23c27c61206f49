"""Arrays on their way between numpy and libpenstock: neither side copies what it only describes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim_clients.about import NOTHING, About, Block
from sim_clients.errors import TensorError
from sim_clients.fields import Array, FieldType
from sim_clients.native_binding import DTYPES, MAX_RANK, PLACE, PLACE_OF, CAbout, CArray, CField, CInfo
from sim_clients.native_memory import Memory

_CODES = {np.dtype(name): code for name, code in DTYPES.items()}
_DTYPES = {code: dtype for dtype, code in _CODES.items()}

Layout = tuple[int, int, Any, Any]


def c_array(array: Array) -> CArray:
    """Describe an array, whatever its memory order; the description holds while the array does."""
    code, rank, dims, strides = _layout(array.dtype, array.shape, array.strides)
    return CArray(array.__array_interface__["data"][0], code, rank, dims, strides)


def c_arrays(arrays: Sequence[Array]) -> Any:
    """Describe several arrays."""
    return (CArray * len(arrays))(*map(c_array, arrays))


def c_fields(fields: Mapping[str, Array]) -> Any:
    """Describe the fields of a snapshot."""
    return (CField * len(fields))(*(CField(name.encode(), c_array(array)) for name, array in fields.items()))


def c_about(about: About, rank: int) -> CAbout:
    """Describe what is known of a field of so many dimensions."""
    numbers, block = ctypes.c_int64 * rank, about.block
    return CAbout(
        None if about.units is None else about.units.encode(),
        rank,
        None if about.dims is None else (ctypes.c_char_p * rank)(*(name.encode() for name in about.dims)),
        None if block is None else numbers(*block.shape),
        None if block is None else numbers(*block.offset),
    )


def about_of(found: CAbout) -> About:
    """Read what the library tells of a field, while it holds."""
    rank = found.rank
    if not rank and found.units is None:
        return NOTHING
    dims = tuple(found.dims[i].decode() for i in range(rank)) if found.dims else None
    block = Block(tuple(found.shape[:rank]), tuple(found.offset[:rank])) if found.shape else None
    return About(None if found.units is None else found.units.decode(), dims, block)


def type_of(name: str, found: CInfo) -> FieldType:
    """Read what the library tells of an array."""
    return FieldType(numpy_dtype(name, found.dtype).name, tuple(found.dims[: found.rank]))


@functools.lru_cache(maxsize=4096)
def _layout(dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    """Return penstock_dtype, rank, dims, and strides, which are None for a C-contiguous array."""
    if len(shape) > MAX_RANK:
        raise TensorError("", f"an array has at most {MAX_RANK} dimensions, not {len(shape)}")
    numbers = ctypes.c_int64 * len(shape)
    plain = np.empty(0, dtype).strides if not shape else _c_strides(dtype.itemsize, shape)
    return _CODES[dtype], len(shape), numbers(*shape), None if strides == plain else numbers(*strides)


def _c_strides(itemsize: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [itemsize]
    for length in reversed(shape[1:]):
        strides.append(strides[-1] * length)
    return tuple(reversed(strides))


class Places:
    """Gives the library memory for what arrives: a new array for each, by its name.

    Attributes:
        callback: what the library calls.
        arrays: name -> array, of the call that is going on.
        callback_of: what the library calls for a field of one of several snapshots.
        arrays_of: (place among the snapshots, name) -> array, of the call that is going on.
        error: what went wrong in the callback; C cannot carry it.
        memory: where new arrays come from.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.arrays_of: dict[tuple[int, str], Array] = {}
        self.error: BaseException | None = None
        self.memory = Memory()
        self.callback = PLACE(self._give)
        self.callback_of = PLACE_OF(self._give_of)

    def taken(self) -> dict[str, Array]:
        """Return what has arrived, and forget it."""
        arrays, self.arrays = self.arrays, {}
        return arrays

    def taken_of(self) -> dict[tuple[int, str], Array]:
        """Return what has arrived of several snapshots, and forget it."""
        arrays, self.arrays_of = self.arrays_of, {}
        return arrays

    def _give(self, _context: object, name: bytes, info: Any) -> int | None:
        return self._given(self.arrays, name.decode(), name, info)

    def _give_of(self, _context: object, i: int, name: bytes, info: Any) -> int | None:
        return self._given(self.arrays_of, (i, name.decode()), name, info)

    def _given(self, arrays: dict[Any, Array], key: object, name: bytes, info: Any) -> int | None:
        try:
            found: CInfo = info.contents
            shape = tuple(found.dims[: found.rank])
            array = self.memory.array(shape, numpy_dtype(name.decode(), found.dtype))
            arrays[key] = array
            return int(array.__array_interface__["data"][0])
        except BaseException as error:  # noqa: BLE001  raised again when the library has returned
            self.error = error
            return None


def dtype_code(dtype: np.dtype[Any]) -> int:
    """Return the penstock_dtype of a dtype that can be sent."""
    return _CODES[dtype]


def numpy_dtype(name: str, code: int) -> np.dtype[Any]:
    """Return numpy's dtype for a penstock_dtype.

    Raises:
        TensorError: naming the tensor; numpy has none.
    """
    try:
        return _DTYPES[code]
    except KeyError:
        raise TensorError(name, "the database has it as bfloat16, which numpy does not know") from None
