"""The network that jumps: (u, source, diffusivity) now -> u many solver steps later."""

import torch
from heat import Plate
from torch import nn

from trainers.networks import FourierNetwork


class HeatJump(nn.Module):
    """Adds to u what a Fourier network says, less its mean: heaters without net power keep the heat."""

    def __init__(self, plate: Plate, *, modes: int, width: int, depth: int) -> None:
        super().__init__()
        self.middle = (plate.least_diffusivity + plate.greatest_diffusivity) / 2
        self.spread = max(plate.greatest_diffusivity - plate.least_diffusivity, 1e-9) / 2
        self.change = FourierNetwork((3, 1), plate.points, modes=modes, width=width, depth=depth)

    def forward(self, u: torch.Tensor, source: torch.Tensor, diffusivity: torch.Tensor) -> torch.Tensor:
        """Map (batch, n, n), (batch, n, n) and (batch, 1) to (batch, n, n)."""
        level = ((diffusivity - self.middle) / self.spread)[:, :, None].expand_as(u)
        change = self.change(torch.stack([u, source, level], dim=1))[:, 0]
        return u + change - change.mean(dim=[1, 2], keepdim=True)
