"""What a tensor may be on the wire."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sim_clients.errors import TensorError

Array = npt.NDArray[Any]

WIRE_DTYPES = ("float64", "float32", "int64", "int32", "int16", "int8", "uint16", "uint8")
_WIRE_TYPES = frozenset(np.dtype(name) for name in WIRE_DTYPES)


class FieldType(NamedTuple):
    """The dtype and the shape of a field."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        """Return for example `float32 (64, 64)`."""
        return f"{self.dtype} {self.shape}"


Form = Callable[[str, object], Array]
"""Brings an array into the form that a client sends, or refuses it by its name."""


def wire_array(name: str, value: object) -> Array:
    """Return an array as the wire carries it: C-contiguous, at least one dimension, native byte order.

    Fortran-ordered arrays and strided views are copied; anything that would change the numbers is refused.

    Raises:
        TensorError: saying what does not fit, and what to do about it.
    """
    return np.ascontiguousarray(sendable(name, value))


def sendable(name: str, value: object) -> Array:
    """Return the array itself, in whatever order its memory is, where the wire can carry it.

    Raises:
        TensorError: saying what does not fit, and what to do about it.
    """
    if type(value) is np.ndarray and value.dtype in _WIRE_TYPES and value.ndim and value.size:
        return value
    return _checked(name, value)


def _checked(name: str, value: object) -> Array:
    if not isinstance(value, np.ndarray):
        raise TensorError(name, f"expected a numpy array, got {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray):
        raise TensorError(name, "the wire carries no mask; send array.filled(value)")
    if value.ndim == 0:
        raise TensorError(name, "a 0-dimensional array cannot be sent; give it the shape (1,)")
    if value.size == 0:
        raise TensorError(name, f"an array of shape {value.shape} has no elements")
    if not value.dtype.isnative:
        raise TensorError(
            name,
            f"byte order {value.dtype.str!r} is not this machine's ({sys.byteorder} endian); "
            f"use array.astype({value.dtype.newbyteorder('=').name!r})",
        )
    if value.dtype.name not in WIRE_DTYPES:
        raise TensorError(
            name, f"dtype {value.dtype.name} cannot be sent; the wire carries {', '.join(WIRE_DTYPES)}"
        )
    return value


def model_inputs(name: str, inputs: tuple[Array, ...], form: Form = wire_array) -> list[Array]:
    """Bring the inputs of a model into the form that a client sends.

    Raises:
        TensorError: naming the model and the position of the input.
    """
    if not inputs:
        raise TensorError(name, "a model needs at least one input")
    return [form(f"input {position} of {name}", value) for position, value in enumerate(inputs)]
