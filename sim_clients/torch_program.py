"""An archive becomes a program that runs in this process: the only file of sim_clients that imports torch.

Inputs are copied, to memory aligned as the database's: a network that writes to its input does not write to
the solver's arrays, and its answer is the database's, bit by bit, with the same torch and as many threads.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sim_clients.errors import InferenceFailed, UnsupportedClientError
from sim_clients.fields import WIRE_DTYPES, Array

try:
    import torch
except ImportError as error:
    raise UnsupportedClientError(
        "a model in this process is run by torch, which cannot be imported here: pip install torch, or let "
        f"the database run it (client.infer); {error}"
    ) from error

Program = Callable[[Sequence[Array]], tuple[Array, ...]]
_DTYPES = {np.dtype(name): getattr(torch, name) for name in WIRE_DTYPES}
_PACKAGE = "/data/aotinductor/"
_CAUSE = "RuntimeError: "


def load_program(key: str, archive: bytes, *, compiled: bool) -> Program:
    """Return what runs an archive.

    Args:
        key: of the model, for errors.
        archive: TorchScript, or an AOTInductor package.
        compiled: accept a package, which is machine code that runs with this process' rights.

    Raises:
        InferenceFailed: torch cannot load it, or it is a package and these are not accepted.
    """
    package = _is_package(archive)
    if package and not compiled:
        raise InferenceFailed(
            key,
            "it is an AOTInductor package, compiled code that would run with this program's rights: say "
            "local_model(name, compiled=True) if you trust who can write to the database",
        )
    try:
        with _deprecation_accepted():
            run: Any = _load_package(archive) if package else _load_script(archive)
    except (RuntimeError, OSError, ValueError) as error:
        raise InferenceFailed(key, f"torch {torch.__version__} cannot load it: {_reason(error)}") from error
    return lambda inputs: _run(key, run, inputs)


def _run(key: str, run: Any, inputs: Sequence[Array]) -> tuple[Array, ...]:
    try:
        with torch.no_grad():
            answer = run(*map(_tensor, inputs))
        outputs = tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)
        return tuple(map(_array, outputs))
    except (RuntimeError, TypeError, AttributeError, torch.jit.Error) as error:
        given = ", ".join(f"{array.dtype} {array.shape}" for array in inputs)
        raise InferenceFailed(key, f"{_reason(error)}; given was {given}") from error


def _array(output: torch.Tensor) -> Array:
    """Return an output as the database gives it: bfloat16 as float32, a scalar with one dimension."""
    plain = output.detach().cpu()
    if plain.dtype == torch.bfloat16:
        plain = plain.float()
    if plain.dtype.is_complex:
        raise TypeError(f"it puts out {plain.dtype}, which no array of the database can be")
    return np.array(plain.numpy(), order="C", ndmin=1)


def _tensor(array: Array) -> torch.Tensor:
    tensor = torch.empty(array.shape, dtype=_DTYPES[array.dtype])
    tensor.numpy()[...] = array
    return tensor


def _load_script(archive: bytes) -> torch.jit.ScriptModule:
    return torch.jit.load(io.BytesIO(archive), map_location="cpu").eval()  # type: ignore[no-any-return, no-untyped-call]


def _load_package(archive: bytes) -> Any:
    with TemporaryDirectory() as directory:  # torch unpacks it elsewhere
        path = Path(directory) / "model.pt2"
        path.write_bytes(archive)
        return torch._inductor.aoti_load_package(str(path))


def _is_package(archive: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            return any(_PACKAGE in name for name in file.namelist())
    except zipfile.BadZipFile:
        return False  # whoever loads TorchScript says what is wrong with it


def _reason(error: Exception) -> str:
    """Return the cause that torch names, without the lines of code around it."""
    text = str(error).strip()
    if isinstance(error, torch.jit.Error):  # what the network has raised comes last
        return text.rpartition("\n")[2]
    return (text.rpartition(_CAUSE)[2] or text).partition("\n")[0]


@contextmanager
def _deprecation_accepted() -> Iterator[None]:
    """Accept that torch 2.13 calls TorchScript deprecated: it is what every database here can load."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r".*torch\.jit\..* is deprecated", category=DeprecationWarning
        )
        yield
