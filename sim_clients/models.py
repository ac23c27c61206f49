"""What may be posted as a model: its name, its version and its device, checked before anything is sent."""

from __future__ import annotations

import re
from numbers import Integral, Real

from sim_clients import keys
from sim_clients.errors import ModelRejected, TensorError

# An ONNX file begins with its field 1, a number; one of its fields 2 to 5, 7, 8 and 14 is next (protobuf).
_ONNX = re.compile(rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x3a\x42\x72]")
_DIGITS = 18
VERSIONS = 10**_DIGITS
"""The first number that is no version."""

_DEVICE = re.compile(r"(CPU|GPU)(:\d+)?")


def checked_version(name: str, version: int) -> int:
    """Return a version as a plain int.

    Raises:
        ModelRejected: it is no whole number of 1 or more, or has more digits than a TAG.
    """
    whole = isinstance(version, Integral) and not isinstance(version, bool)
    if not whole or not 1 <= version < VERSIONS:
        reason = f"a version is a whole number, 1 or greater and of up to {_DIGITS} digits, got {version!r}"
        raise ModelRejected(name, reason)
    return int(version)


def checked_count(name: str, count: int) -> int:
    """Return how many outputs a model is asked for.

    Raises:
        TensorError: it is no whole number of 1 or more.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
        raise TensorError(name, f"a model has at least one output, got the count {count!r}")
    return int(count)


def check_post(name: str, model: bytes, device: str) -> None:
    """Check what is to be posted.

    Raises:
        NameRefused: the name cannot be part of a key, or is that of a flag or of the stream of snapshots.
        ModelRejected: the model is no archive, or the device none that there is.
    """
    keys.checked_model(name)
    if not isinstance(model, bytes) or not model:
        kind = "an empty one" if isinstance(model, bytes) else type(model).__name__
        raise ModelRejected(name, f"a model is the bytes of a TorchScript archive, got {kind}")
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise ModelRejected(name, f"a device is CPU, GPU, CPU:n or GPU:n, got {device!r}")


def checked_error(name: str, value: float) -> float:
    """Return a reported error as a plain float.

    Raises:
        ModelRejected: it is no number, or greater than a float can be.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ModelRejected(name, f"an error is a number, got {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise ModelRejected(name, "an error is a number that fits into 64 bits") from error


def check_newer(name: str, version: int, live: int) -> None:
    """Check that a version comes after the live one.

    Raises:
        ModelRejected
    """
    if version <= live:
        raise ModelRejected(name, f"version {version} is not newer than the live version {live}")


def backend_of(model: bytes) -> str:
    """Return what runs a file: ONNX for an ONNX file, TORCH for TorchScript, packages and what is neither."""
    return "ONNX" if _ONNX.match(model) else "TORCH"
