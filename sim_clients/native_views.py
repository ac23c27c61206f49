"""libpenstock's views as numpy arrays: given back when the last array on one is garbage, on any thread."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np

from sim_clients.fields import Array
from sim_clients.native_arrays import numpy_dtype
from sim_clients.native_binding import Library
from sim_clients.new_fields import FieldMemory


class View:
    """One penstock_view.

    Args:
        library: the loaded library.
        handle: a view that nobody else ends.
    """

    def __init__(self, library: Library, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle
        weakref.finalize(self, library.unmap, handle).atexit = False

    def mapped(self) -> dict[str, Array]:
        """Return its arrays by name, read-only.

        Raises:
            TensorError: numpy has no such dtype.
        """
        count = self._library.view_count(self._handle)
        return {
            self._name(i): np.asarray(_Piece(self._interface(i, read_only=True), self)) for i in range(count)
        }

    def leased(self) -> Array:
        """Return its only array, writable until it is put."""
        return np.asarray(FieldMemory(self._interface(0, read_only=False), self))

    def _name(self, i: int) -> str:
        name: bytes = self._library.view_name(self._handle, i)
        return name.decode()

    def _interface(self, i: int, *, read_only: bool) -> dict[str, Any]:
        array = self._library.view_array(self._handle, i)
        return {
            "data": (array.data, read_only),
            "shape": tuple(array.dims[: array.rank]),
            "typestr": numpy_dtype(self._name(i), array.dtype).str,
            "version": 3,
        }


class _Piece:
    """What numpy takes for the owner of a mapped array's memory."""

    def __init__(self, interface: dict[str, Any], view: View) -> None:
        self.__array_interface__ = interface
        self.view = view


def is_mapped(array: Array) -> bool:
    """Tell whether an array is, whole, one that lies in the database's memory."""
    return isinstance(array.base, _Piece)
