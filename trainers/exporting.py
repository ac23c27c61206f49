"""A network becomes an archive that the database can run, and that was run once beside the network itself."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from trainers.errors import ExportMismatch
from trainers.normalise import Normalised

TOLERANCE = 1e-4


def export(network: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    """Return a network as a TorchScript archive that was run once and answers as the network does.

    Args:
        example: one batch of inputs, in the order of forward's arguments.

    Raises:
        ExportMismatch: the archive's answer is another.
    """
    trained = copy.deepcopy(network).cpu().eval()
    inputs = [tensor.detach().cpu() for tensor in example]
    archive = _archive(trained, inputs)
    with torch.no_grad():
        expected = trained(*inputs)
        found = _load(archive)(*inputs)
    check_same(found, expected)
    return archive


def check_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    """Check that an answer is the expected one, relative to the latter's largest value.

    Raises:
        ExportMismatch
    """
    if found.shape != expected.shape:
        raise ExportMismatch(float("inf"), tolerance)
    difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not difference <= tolerance:  # also when it is NaN
        raise ExportMismatch(difference, tolerance)


def _archive(network: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    file = io.BytesIO()
    with _deprecation_accepted():
        torch.jit.save(_scripted(network, example), file)
    return file.getvalue()


def _scripted(network: torch.nn.Module, example: Sequence[torch.Tensor]) -> Any:
    """Return a network as TorchScript, which knows no functions of any number of fields: those are traced."""
    if not isinstance(network, Normalised):
        return torch.jit.script(network)
    network.network = torch.jit.script(network.network)
    return torch.jit.trace(network, tuple(example))  # type: ignore[no-untyped-call]


def _load(archive: bytes) -> Any:
    with _deprecation_accepted():
        return torch.jit.load(io.BytesIO(archive), map_location="cpu")  # type: ignore[no-untyped-call]


@contextmanager
def _deprecation_accepted() -> Iterator[None]:
    """Accept that torch 2.13 calls TorchScript deprecated: it is what every database here can load."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r".*torch\.jit\..* is deprecated", category=DeprecationWarning
        )
        yield
