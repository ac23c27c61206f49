"""The forms in which a network can be posted, and what the rows of its inputs may be in them."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

import torch

MOST_ROWS = 1 << 20


class Format(Enum):
    """What a network is exported as.

    TORCHSCRIPT is what every database here runs, on any host and by any torch from 2.6 on. AOTINDUCTOR is
    compiled by this host's C++ compiler, for hosts like it and the same torch; the owner of the database must
    allow it. ONNX is run by OpenVINO or onnxruntime, and needs the packages onnx and onnxscript here.
    """

    TORCHSCRIPT = "torchscript"
    AOTINDUCTOR = "aotinductor"
    ONNX = "onnx"


def any_rows(network: torch.nn.Module, inputs: list[torch.Tensor]) -> Any:
    """Say for torch.export that the first dimension of all inputs is the same number of rows, whichever."""
    rows = {0: torch.export.Dim("rows", min=1, max=MOST_ROWS)}
    given = inspect.signature(network.forward).bind(*inputs).arguments
    return {
        name: tuple(rows for _ in value) if isinstance(value, tuple) else rows  # of `*inputs` a tuple
        for name, value in given.items()
    }


def two_rows(inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return inputs of at least two rows, for torch.export takes a single row for a constant."""
    return tuple(torch.cat([tensor, tensor]) if tensor.shape[0] == 1 else tensor for tensor in inputs)
