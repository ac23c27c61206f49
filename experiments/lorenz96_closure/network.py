"""The closure: X around a grid point -> the subgrid tendency B there, the same map at every point."""

import torch
from torch import nn

from trainers.networks import Mlp


class Closure(nn.Module):
    """A small network over a stencil: X from two points upstream to one point downstream.

    X alone says less about B than its neighbours do with it, which tell where X is going.
    """

    upstream: int
    downstream: int

    def __init__(self, forcing: float, *, upstream: int, downstream: int, width: int) -> None:
        super().__init__()
        if min(upstream, downstream) < 0:
            raise ValueError(f"a stencil has 0 or more points on a side, got {upstream} and {downstream}")
        self.upstream, self.downstream = upstream, downstream
        self.middle, self.spread = forcing / 4, forcing / 3  # about the mean and the deviation of X
        self.point = Mlp(upstream + 1 + downstream, 1, width=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map X to B, both (…, slow): the trainer has batches of members, a solver members."""
        scaled = (x - self.middle) / self.spread
        first = x.shape[-1] - self.upstream
        around = torch.cat([scaled[..., first:], scaled, scaled[..., : self.downstream]], dim=-1)
        out: torch.Tensor = self.point(around.unfold(-1, self.upstream + 1 + self.downstream, 1))
        return out[..., 0]
