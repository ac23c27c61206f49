"""A network compiled to a library by torch: an AOTInductor package. It needs a C++ compiler."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.fx.experimental._config as symbolic_shapes

from trainers.formats import any_rows, two_rows

_NAME = "network.pt2"


def packaged(network: torch.nn.Module, inputs: list[torch.Tensor]) -> bytes:
    """Return the package of a network whose inputs have these shapes, but for the first dimension.

    Raises:
        Exception: what torch raises, of many kinds.
    """
    with TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        path = Path(directory) / _NAME
        with _one_row_allowed():
            program = torch.export.export(network, two_rows(inputs), dynamic_shapes=any_rows(network, inputs))
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))
        return path.read_bytes()


def _one_row_allowed() -> AbstractContextManager[Any]:
    """Have torch compile for a single row too; one that has no such setting compiles for two and more."""
    if hasattr(symbolic_shapes, "backed_size_oblivious"):
        return symbolic_shapes.patch(backed_size_oblivious=True)  # type: ignore[no-any-return, attr-defined]
    return nullcontext()


def run_package(archive: bytes, inputs: Sequence[torch.Tensor]) -> Any:
    """Run a package once."""
    with TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(directory) / _NAME
        path.write_bytes(archive)
        return torch._inductor.aoti_load_package(str(path))(*inputs)
