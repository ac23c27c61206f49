"""A network becomes an archive that the database can run, and that was run beside the network itself."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch

from trainers.aotinductor import packaged, run_package
from trainers.errors import ExportFailed, ExportMismatch
from trainers.formats import Format
from trainers.normalise import Normalised
from trainers.onnx_file import missing_packages, onnx_file, run_onnx
from trainers.uncertainty import DeepEnsemble, McDropout

TOLERANCE = 1e-4
ROWS = 4
"""By so many held-out rows an export is compared with its network before it is posted."""
_OF_ANY_FIELDS = (Normalised, DeepEnsemble, McDropout)


def export(
    network: torch.nn.Module, example: Sequence[torch.Tensor], *, format: Format = Format.TORCHSCRIPT
) -> bytes:
    """Return a network in a form that the database runs, which was run and answers as the network does.

    It is run on the example, and on its last row alone if the network takes one row. A network that draws
    random numbers, as Monte Carlo dropout does, is compared from the same seed.

    Args:
        example: one batch of inputs that it did not learn from, in the order of forward's arguments; of
            several rows, since one shows nothing of what becomes of a second.
        format: what it becomes.

    Raises:
        ExportFailed: it cannot be exported so, with torch's reason.
        ExportMismatch: the answer is another.
    """
    trained = copy.deepcopy(network).cpu().eval()
    inputs = [tensor.detach().cpu() for tensor in example]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        expected = _seeded(trained, inputs)
        if format is not Format.TORCHSCRIPT:
            _check_exportable(network, format, drawn=not _same(expected, _seeded(trained, inputs, seed=1)))
        cases = [(inputs, expected), *_of_last_row(trained, inputs)]
        archive = _written(trained, inputs, format)
        for given, answer in cases:
            _check_answer(_answered(network, archive, given, format), answer)
    return archive


def _of_last_row(
    network: torch.nn.Module, inputs: Sequence[torch.Tensor]
) -> list[tuple[Sequence[torch.Tensor], tuple[torch.Tensor, ...]]]:
    """Return the last row of inputs of several, with the network's answer, where it takes one row."""
    if len({each.shape[:1] for each in inputs}) != 1 or not inputs[0].dim() or len(inputs[0]) < 2:
        return []
    row = [each[-1:] for each in inputs]
    with suppress(Exception):  # of one that is made for several rows
        return [(row, _seeded(network, row))]
    return []


def _answered(
    network: torch.nn.Module, archive: bytes, inputs: Sequence[torch.Tensor], format: Format
) -> tuple[torch.Tensor, ...]:
    try:
        return _seeded(lambda *given: _run(archive, given, format), inputs)
    except Exception as error:  # what runs it raises nearly everything there is
        reason = f"what it has become does not run on inputs of {_shapes(inputs)}: {_reason(error)}"
        raise ExportFailed(type(network).__name__, format.value, reason) from error


def _shapes(inputs: Sequence[torch.Tensor]) -> str:
    return ", ".join(str(tuple(each.shape)) for each in inputs)


def _check_answer(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> None:
    if len(found) != len(expected):
        raise ExportMismatch(float("inf"), TOLERANCE)
    for one, other in zip(found, expected, strict=True):
        check_same(one, other)


def _seeded(run: Any, inputs: Sequence[torch.Tensor], seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Run something on inputs, from a seed, and return its outputs."""
    torch.manual_seed(seed)
    answer = run(*inputs)
    return tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)


def _same(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _check_exportable(network: torch.nn.Module, format: Format, *, drawn: bool) -> None:
    kind = type(network).__name__
    if drawn:
        reason = "it draws random numbers, which only torchscript does in the same way"
        raise ExportFailed(kind, format.value, reason)
    if format is Format.ONNX and (missing := missing_packages()):
        raise ExportFailed(kind, format.value, f"pip install {' '.join(missing)}, or penstock[onnx]")


def _written(network: torch.nn.Module, inputs: list[torch.Tensor], format: Format) -> bytes:
    write = {
        Format.TORCHSCRIPT: _archive,
        Format.AOTINDUCTOR: packaged,
        Format.ONNX: onnx_file,
    }[format]
    try:
        return write(network, inputs)
    except Exception as error:  # torch's compilers raise nearly everything there is
        raise ExportFailed(type(network).__name__, format.value, _reason(error)) from error


def _run(archive: bytes, inputs: Sequence[torch.Tensor], format: Format) -> Any:
    if format is Format.AOTINDUCTOR:
        return run_package(archive, inputs)
    return run_onnx(archive, inputs) if format is Format.ONNX else _load(archive)(*inputs)


def _reason(error: Exception) -> str:
    """Return the first line of an error, or that of what has caused it where it has none of its own."""
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def check_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    """Check that an answer is the expected one, relative to the latter's largest value.

    Raises:
        ExportMismatch
    """
    if found.shape != expected.shape:
        raise ExportMismatch(float("inf"), tolerance)
    off, scale = (float(each.double().abs().max()) for each in (found - expected, expected))
    difference = off / scale if scale else off
    if not difference <= tolerance:  # also when it is NaN
        raise ExportMismatch(difference, tolerance)


def _archive(network: torch.nn.Module, example: Sequence[torch.Tensor]) -> bytes:
    file = io.BytesIO()
    with _deprecation_accepted():
        torch.jit.save(_scripted(network, example), file)
    return file.getvalue()


def _scripted(network: torch.nn.Module, example: Sequence[torch.Tensor]) -> Any:
    """Return a network as TorchScript, which knows no functions of any number of fields: those are traced."""
    if not isinstance(network, _OF_ANY_FIELDS):
        return torch.jit.script(network)
    _script_parts(network)
    return torch.jit.trace(network, tuple(example), check_trace=False)  # type: ignore[no-untyped-call]


def _script_parts(network: torch.nn.Module) -> None:
    for name, part in network.named_children():
        if isinstance(part, (*_OF_ANY_FIELDS, torch.nn.ModuleList)):
            _script_parts(part)
        else:
            network.add_module(name, torch.jit.script(part))


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
