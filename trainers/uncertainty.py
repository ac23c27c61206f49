"""Networks that say how sure they are: each answers with a mean and a spread, and is posted as one model.

    network = DeepEnsemble([Mlp(36, 36) for _ in range(5)])
    train(network, client, training, buffer, directory)         # or a loop of one's own
    mean, spread = client.infer_outputs("closure", x, count=2)  # in the solver

In training each member, or one draw, is compared with the target on its own (`answers`); it is judged by the
mean, and answers with both. The spread is the standard deviation over the members, or the draws, in the units
of the output. It grows where the network has not been shown data; how it relates to the error is for each
problem to be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from trainers.errors import TrainingRefused


@runtime_checkable
class WithSpread(Protocol):
    """A network that answers with a mean and a spread, and learns by answers of its members."""

    def answers(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map inputs, each (batch, …), to answers that are compared with the target each on its own."""
        ...


class DeepEnsemble(nn.Module):
    """Networks of one kind that differ by where their training began.

    Lakshminarayanan, Pritzel & Blundell, arXiv 1612.01474: each member learns from all data, from random
    weights of its own; what they disagree about is what the data have not decided.

    Args:
        members: two or more, with one output of the same shape.

    Raises:
        TrainingRefused: fewer than two.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        if len(members) < 2:
            raise TrainingRefused("number of members", len(members), "2 or more, to disagree")
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map inputs, each (batch, …), to mean and spread, both of the shape of a member's output."""
        return mean_and_spread(torch.stack(self.answers(*inputs)))

    def answers(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map inputs, each (batch, …), to what each member answers."""
        return tuple(member(*inputs) for member in self.members)

    def loss(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of the members, each on its own, averaged over them."""
        errors = [nn.functional.mse_loss(member(x), target) for member in self.members]
        return torch.stack(errors).mean()


class McDropout(nn.Module):
    """A network whose dropout goes on when it is asked, so that each draw answers a little differently.

    Gal & Ghahramani, arXiv 1506.02142. Each answer is the mean and spread of `draws` passes, all of them in
    one batch, and differs from the next by its random numbers: it is noise of the order spread / sqrt(draws).

    Args:
        network: with one output, and `Dropout` layers of this module in it.
        draws: passes for each answer, 2 or more.

    Raises:
        TrainingRefused: too few draws, or a network that has no `Dropout`.
    """

    def __init__(self, network: nn.Module, *, draws: int = 16) -> None:
        if draws < 2:
            raise TrainingRefused("number of draws", draws, "2 or more, to have a spread")
        if not any(isinstance(part, Dropout) for part in network.modules()):
            raise TrainingRefused(
                "network", type(network).__name__, "one with a trainers.uncertainty.Dropout in it"
            )
        super().__init__()
        self.network = network
        self.draws = draws

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map inputs, each (batch, …), to mean and spread, both of the shape of the network's output."""
        answers = self.network(*(torch.cat([x] * self.draws) for x in inputs))
        return mean_and_spread(answers.unflatten(0, (self.draws, -1)))

    def answers(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map inputs, each (batch, …), to what one pass answers, as dropout is trained."""
        return (self.network(*inputs),)

    def loss(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of one pass, as dropout is trained."""
        return nn.functional.mse_loss(self.network(x), target)


class Dropout(nn.Module):
    """Sets random elements to zero, also when the network is evaluated; torch's own one stops then.

    Args:
        probability: of each element, greater than 0 and less than 1.

    Raises:
        TrainingRefused: another probability.
    """

    def __init__(self, probability: float = 0.1) -> None:
        if not 0 < probability < 1:
            raise TrainingRefused("dropout's probability", probability, "between 0 and 1")
        super().__init__()
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map any shape to the same shape."""
        return nn.functional.dropout(x, self.probability, training=True)


def mean_and_spread(answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation (unbiased) over the first dimension."""
    return answers.mean(dim=0), answers.std(dim=0)


class Learning(nn.Module):
    """What gradient steps run of a network: its answer, or those of its members where it has a spread.

    DistributedDataParallel must see the call that gradients are taken of, and so it is a module.

    Args:
        network: with one output, or `WithSpread`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map inputs, each (batch, …), to what is compared with the target, one answer after the other."""
        if isinstance(self.network, WithSpread):
            return self.network.answers(*inputs)
        return outputs_of(self.network, self.network(*inputs))


def outputs_of(network: nn.Module, answer: Any) -> tuple[torch.Tensor, ...]:
    """Return the outputs of a network as a tuple: the first is what is compared with the target.

    Raises:
        TrainingRefused: it has several, and is none with a spread.
    """
    if isinstance(answer, torch.Tensor):
        return (answer,)
    if isinstance(network, WithSpread):
        return tuple(answer)
    expected = "one with one output, or with a mean and a spread, as DeepEnsemble and McDropout have"
    raise TrainingRefused("network", type(network).__name__, expected)
