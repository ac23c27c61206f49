"""Arrays on their way between numpy and libpenstock: neither side copies what it only describes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim_clients.errors import TensorError
from sim_clients.fields import Array
from sim_clients.native_binding import DTYPES, MAX_RANK, PLACE, CArray, CField, CInfo
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
        error: what went wrong in the callback; C cannot carry it.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.error: BaseException | None = None
        self._memory = Memory()
        self.callback = PLACE(self._give)

    def taken(self) -> dict[str, Array]:
        """Return what has arrived, and forget it."""
        arrays, self.arrays = self.arrays, {}
        return arrays

    def _give(self, _context: object, name: bytes, info: Any) -> int | None:
        try:
            found: CInfo = info.contents
            array = self._memory.array(tuple(found.dims[: found.rank]), _dtype(name, found.dtype))
            self.arrays[name.decode()] = array
            return int(array.__array_interface__["data"][0])
        except BaseException as error:  # noqa: BLE001  raised again when the library has returned
            self.error = error
            return None


def _dtype(name: bytes, code: int) -> np.dtype[Any]:
    try:
        return _DTYPES[code]
    except KeyError:
        raise TensorError(
            name.decode(), "the database has it as bfloat16, which numpy does not know"
        ) from None
