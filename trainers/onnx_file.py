"""A network as an ONNX file, run by OpenVINO as the database does: the only file here that knows either."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trainers.formats import any_rows, two_rows

NEEDED = ("onnx", "onnxscript")
_LOUD = "torch.onnx._internal.exporter"


def missing_packages() -> list[str]:
    """Return which of the packages that torch.onnx needs are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def onnx_file(network: torch.nn.Module, inputs: list[torch.Tensor]) -> bytes:
    """Return the file of a network whose inputs have these shapes, but for the first dimension.

    Raises:
        Exception: what torch raises, of many kinds.
    """
    logger = logging.getLogger(_LOUD)
    before = logger.level
    logger.setLevel(logging.ERROR)  # it warns of packages that are not needed
    try:
        with TemporaryDirectory() as directory, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            path = Path(directory) / "network.onnx"
            torch.onnx.export(
                network,
                two_rows(inputs),
                path,
                dynamo=True,
                external_data=False,
                dynamic_shapes=any_rows(network, inputs),
                verbose=False,
            )
            return path.read_bytes()
    finally:
        logger.setLevel(before)


def run_onnx(file: bytes, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Run a file once, in the precision that the database computes in."""
    # Here and not above: it takes a second to import, and who posts TorchScript needs none of it.
    import openvino  # noqa: PLC0415

    core = openvino.Core()
    model = core.compile_model(core.read_model(file, b""), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = model([tensor.numpy() for tensor in inputs])
    return tuple(torch.from_numpy(output.copy()) for output in answer.to_tuple())
