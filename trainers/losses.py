"""What is minimised: how far answers are from their targets, sample by sample.

A loss of the user's is any function of the two that returns one number for each sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from trainers.errors import TrainingRefused

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(answer, target), each (batch, …), to (batch,), differentiable."""


def learning_device(network: torch.nn.Module) -> torch.device:
    """Return where a network that is to learn is.

    Raises:
        TrainingRefused: it has no parameters, or none that are learned.
    """
    for parameter in network.parameters():
        if parameter.requires_grad:
            return parameter.device
    raise TrainingRefused("network", type(network).__name__, "one with parameters that are learned")


def of_samples(loss: Loss, answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return a loss of each sample: (batch,).

    Raises:
        TrainingRefused: answer and target have other shapes; torch would repeat one along the other.
    """
    check_shapes(tuple(answer.shape), tuple(target.shape))
    return loss(answer, target)


def check_shapes(answer: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Check that an answer has its target's shape; both (batch, …).

    Raises:
        TrainingRefused
    """
    if answer != target:
        raise TrainingRefused("answer's shape", answer, f"that of its target, {target}")


def relative_square(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return each sample's squared L2 error relative to its target's squared norm: (batch,) float64.

    Where a target is 0 everywhere the mean squared norm of the batch stands for its own, and 1 where all are.
    It is computed in float64: the square of 1e20 is no float32 number, and that of 1e-25 is 0.

    Raises:
        TrainingRefused: answer and target have other shapes.
    """
    check_shapes(tuple(answer.shape), tuple(target.shape))
    wide = target.flatten(1).double()
    return (answer.flatten(1) - wide).square().sum(1) / _squared_norms(wide)


def _squared_norms(target: torch.Tensor) -> torch.Tensor:
    norms = target.square().sum(1)
    typical = torch.where(norms.mean() > 0, norms.mean(), torch.ones_like(norms))
    return torch.where(norms > 0, norms, typical)


def mean_square(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return each sample's mean squared error, in the target's units squared: (batch,).

    Raises:
        TrainingRefused: answer and target have other shapes.
    """
    check_shapes(tuple(answer.shape), tuple(target.shape))
    return (answer - target).flatten(1).square().mean(1)
