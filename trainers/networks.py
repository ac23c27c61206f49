"""Small networks for fields on periodic grids.

TorchScript reads the annotations, so they are real types here and not the texts that `from __future__ import
annotations` would make of them.
"""

import math

import torch
from torch import nn


def fourier_basis(points: int, modes: int) -> torch.Tensor:
    """Return the real Fourier functions of wave numbers 0 to `modes` on a periodic grid.

    Returns:
        (points, 2 modes + 1) float32, orthonormal columns 1, cos, sin, cos 2…, scaled by 1/sqrt(points).
    """
    if not 0 <= 2 * modes < points:
        raise ValueError(f"{points} grid points carry fewer than {points / 2:g} wave numbers, got {modes}")
    angle = 2 * math.pi * torch.arange(points, dtype=torch.float64)[:, None] / points
    angle = angle * torch.arange(1, modes + 1, dtype=torch.float64)
    waves = torch.stack([torch.cos(angle), torch.sin(angle)], dim=2).flatten(1) * math.sqrt(2 / points)
    constant = torch.full((points, 1), 1 / math.sqrt(points), dtype=torch.float64)
    return torch.cat([constant, waves], dim=1).float()


class SpectralLayer(nn.Module):
    """Mixes the channels of each low Fourier mode by its own matrix, and those of each point by a common one.

    The Fourier layer of Li et al. (arXiv 2010.08895) in a real basis: two thin matrix products in place of
    an FFT, and no complex weights, which TorchScript and the database carry only with pains.
    """

    basis: torch.Tensor

    def __init__(self, points: int, modes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("basis", fourier_basis(points, modes))
        self.mixing = nn.Parameter(torch.randn((2 * modes + 1) ** 2, width, width) / width)
        self.pointwise = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, points, points) to the same shape."""
        modes = torch.matmul(torch.matmul(self.basis.t(), x), self.basis)
        batch, width, rows, columns = modes.shape
        modes = modes.permute(2, 3, 0, 1).reshape(rows * columns, batch, width)
        modes = torch.bmm(modes, self.mixing).reshape(rows, columns, batch, width).permute(2, 3, 0, 1)
        return torch.add(torch.matmul(torch.matmul(self.basis, modes), self.basis.t()), self.pointwise(x))


class FourierNetwork(nn.Module):
    """Channels of fields in, channels of fields out: a lift, spectral layers with shortcuts, a projection."""

    def __init__(
        self, channels: tuple[int, int], points: int, *, modes: int = 8, width: int = 12, depth: int = 2
    ) -> None:
        super().__init__()
        self.lift = nn.Conv2d(channels[0], width, kernel_size=1)
        self.layers = nn.ModuleList(SpectralLayer(points, modes, width) for _ in range(depth))
        self.project = nn.Conv2d(width, channels[1], kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels[0], points, points) to (batch, channels[1], points, points)."""
        x = self.lift(x)
        for layer in self.layers:
            x = x + nn.functional.gelu(layer(x))
        out: torch.Tensor = self.project(x)
        return out


class Mlp(nn.Module):
    """Points in, points out: the network for functions of a few numbers."""

    def __init__(self, inputs: int, outputs: int, *, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, inputs) to (batch, outputs)."""
        out: torch.Tensor = self.layers(x)
        return out
