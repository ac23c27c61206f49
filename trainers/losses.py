"""What is minimised: how far answers are from their targets, sample by sample.

A loss of the user's is any function of the two that returns one number for each sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(answer, target), each (batch, …), to (batch,), differentiable."""


def relative_square(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return each sample's squared L2 error relative to its target's squared norm: (batch,).

    Where a target is 0 everywhere the mean squared norm of the batch stands for its own, and 1 where all are.
    """
    return (answer - target).flatten(1).square().sum(1) / _squared_norms(target)


def _squared_norms(target: torch.Tensor) -> torch.Tensor:
    norms = target.flatten(1).square().sum(1)
    typical = torch.where(norms.mean() > 0, norms.mean(), torch.ones_like(norms))
    return torch.where(norms > 0, norms, typical)


def mean_square(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return each sample's mean squared error, in the target's units squared: (batch,)."""
    return (answer - target).flatten(1).square().mean(1)
