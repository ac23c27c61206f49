"""The networks that are run: small and large perceptrons, a small CNN, and files of any size."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

WIDTHS = (64, 512, 2048)


@dataclass(frozen=True)
class Network:
    """A network as TorchScript and as a file, and the shape of a batch of one."""

    name: str
    module: Any
    file: bytes
    shape: tuple[int, ...]

    def input(self) -> np.ndarray[Any, Any]:
        """Return ones, a batch of one, float32."""
        return np.ones(self.shape, np.float32)

    def answer(self) -> np.ndarray[Any, Any]:
        """Return what the network makes of `input`."""
        with torch.no_grad():
            return self.module(torch.from_numpy(self.input())).numpy()


def _traced(name: str, layers: nn.Module, shape: tuple[int, ...]) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.trace(layers.eval(), torch.zeros(shape))
        file = io.BytesIO()
        torch.jit.save(module, file)
    return Network(name, module, file.getvalue(), shape)


@cache
def mlp(width: int = 64) -> Network:
    """Three layers of one width with ReLU between; (1, width) float32."""
    return _traced(f"mlp{width}", mlp_layers(width), (1, width))


def mlp_layers(width: int) -> nn.Sequential:
    """Return the layers of `mlp`, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
    )


@cache
def cnn() -> Network:
    """Two convolutions and a linear layer on a small image; (1, 1, 28, 28) float32."""
    return _traced("cnn", _convolutions(1, 16, 32, 32 * 5 * 5), (1, 1, 28, 28))


@cache
def large_cnn() -> Network:
    """The same on an image for which they take some 4 ms of a core; (1, 3, 96, 96) float32."""
    return _traced("cnn96", _convolutions(3, 64, 128, 128 * 22 * 22), (1, 3, 96, 96))


def _convolutions(channels: int, first: int, second: int, flat: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, first, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(first, second, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(flat, 10),
    )  # fmt: skip


def of_size(size: int) -> Network:
    """A linear network whose file has about `size` bytes; (1, n) float32."""
    width = max(8, int((size / 4) ** 0.5))
    torch.manual_seed(0)
    return _traced(f"{size >> 10} KB", nn.Linear(width, width), (1, width))
