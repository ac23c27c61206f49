"""Arrays that a client gives to be computed in and then put: they become read-only by the put.

Where the database shares its memory such an array lies there, and a put does not copy it: from then on it is
the tensor that others read. Elsewhere it is an ordinary array, with the same rule, so that a program behaves
the same on a laptop without shared memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_clients.errors import TensorError
from sim_clients.fields import Array, sendable

Shape = int | tuple[int, ...]


class FieldMemory:
    """The memory of one array that `Client.new_field` has given.

    Args:
        interface: numpy's description of it, writable.
        owner: whatever the memory lives with.
    """

    def __init__(self, interface: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = interface
        self.owner = owner

    def is_all_of(self, array: Array) -> bool:
        """Tell whether an array is this memory as it was given: whole, in the same order."""
        there, given = array.__array_interface__, self.__array_interface__
        same = there["data"][0] == given["data"][0] and array.shape == given["shape"]
        return same and array.flags.c_contiguous and array.dtype.str == given["typestr"]


def checked_layout(shape: Shape, dtype: npt.DTypeLike) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the dtype of a new field.

    Raises:
        TensorError: it could not be put.
    """
    try:
        example = np.broadcast_to(np.empty((), dtype), shape)
    except (TypeError, ValueError) as error:
        raise TensorError("a new field", str(error)) from error
    sendable("a new field", example)
    return example.shape, example.dtype


def ordinary_field(shape: Shape, dtype: npt.DTypeLike) -> Array:
    """Return a new field in ordinary memory, for clients that share none.

    Raises:
        TensorError: it could not be put.
    """
    array = np.empty(*checked_layout(shape, dtype))
    return np.asarray(FieldMemory(array.__array_interface__, array))


def spend(arrays: Iterable[Array]) -> None:
    """Make the new fields among some arrays read-only: they have been put."""
    for array in arrays:
        seen: list[Array] = []
        base: object = array
        while isinstance(base, np.ndarray):
            seen.append(base)
            base = base.base
        if isinstance(base, FieldMemory) and base.is_all_of(array):
            for one in seen:
                one.flags.writeable = False


def read_only(array: Array) -> Array:
    """Return the array, read-only from now on."""
    array.flags.writeable = False
    return array
