"""Fields of mean 0 and variance 1 inside the network, raw fields outside of it.

Moments are gathered of every snapshot that is learned from, in float64, block by block: the update of
Welford (Technometrics 4, 1962) for blocks, by Chan, Golub and LeVeque (The American Statistician 37, 1983).
It does not lose its digits where a mean is large beside the deviation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from sim_clients.fields import Array
from trainers.uncertainty import WithSpread, outputs_of

Normalise = Literal["no", "frozen", "running"]
"""Not; by what had come before the first step; by all that has come, looked at again at every judgement."""


@dataclass
class Moments:
    """Of all values of a field so far: how many, their mean, and the sum of squared deviations from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Array) -> None:
        """Count an array of any shape."""
        if values.size:
            values = values.astype("float64")
            mean = float(values.mean())
            self.merge(Moments(values.size, mean, float(((values - mean) ** 2).sum())))

    def merge(self, other: Moments) -> None:
        """Count what others have counted: the order does not matter."""
        count = self.count + other.count
        if not other.count:
            return
        apart = other.mean - self.mean
        self.squares += other.squares + apart**2 * (self.count * other.count / count)
        self.mean += apart * (other.count / count)
        self.count = count

    @property
    def variance(self) -> float:
        """The mean squared deviation from the mean; 0 where nothing was counted."""
        return self.squares / self.count if self.count else 0.0

    @property
    def scale(self) -> float:
        """What to divide deviations by: the standard one, or 1 where the field is as good as constant."""
        deviation = math.sqrt(self.variance)
        return deviation if deviation > 1e-12 * abs(self.mean) else 1.0


class FieldMoments:
    """The moments of some fields by their names.

    Args:
        names: of the fields; others are not looked at.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.of = {name: Moments() for name in names}

    def add(self, fields: Mapping[str, Array]) -> None:
        """Count the fields of one snapshot."""
        for name, moments in self.of.items():
            if name in fields:
                moments.add(fields[name])

    @classmethod
    def merged(cls, states: Sequence[Mapping[str, Any]]) -> FieldMoments:
        """Return what several have counted of the same fields; of each, what `state_dict` returns."""
        whole = cls(tuple(states[0]))
        for state in states:
            for name, moments in whole.of.items():
                moments.merge(Moments(*state[name]))
        return whole

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {name: [one.count, one.mean, one.squares] for name, one in self.of.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            KeyError: it is of other fields.
        """
        self.of = {name: Moments(*state[name]) for name in self.of}


class Normalised(torch.nn.Module):
    """A network between raw fields: inputs are normalised, its answer is brought to the target's scale.

    It is this that is trained, judged, posted and restored, so that a version has the means and scales that
    it has learned with. Before `follow` it changes nothing.

    Args:
        network: learns from fields of mean 0 and variance 1, and answers such a one.
        inputs: fields in the order of the network's arguments.
        target: the field that its answer is one of.
    """

    means: torch.Tensor
    scales: torch.Tensor

    def __init__(self, network: torch.nn.Module, inputs: Sequence[str], target: str) -> None:
        super().__init__()
        self.network = network
        self.names = (*inputs, target)
        self.register_buffer("means", torch.zeros(len(self.names), dtype=torch.float64))
        self.register_buffer("scales", torch.ones(len(self.names), dtype=torch.float64))

    def follow(self, moments: FieldMoments) -> None:
        """Take the means and scales of what has come; a field of which nothing has come is left as it is."""
        known = [moments.of.get(name, Moments()) for name in self.names]
        self.means.copy_(torch.tensor([one.mean for one in known], dtype=torch.float64))
        self.scales.copy_(torch.tensor([one.scale for one in known], dtype=torch.float64))

    def forward(self, *fields: torch.Tensor) -> Any:
        """Map raw fields, each (batch, …), to the raw target (batch, …)."""
        (answer,) = outputs_of(self.network, self.network(*self._inside(fields)))
        return self._outside(answer)

    def _inside(self, fields: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [(field - self.means[i]) / self.scales[i] for i, field in enumerate(fields)]

    def _outside(self, answer: torch.Tensor) -> torch.Tensor:
        return answer * self.scales[-1] + self.means[-1]


class NormalisedWithSpread(Normalised):
    """The same of a network with a spread, which is brought to the target's scale too."""

    def forward(self, *fields: torch.Tensor) -> Any:
        """Map raw fields, each (batch, …), to the mean and the spread of the raw target, both (batch, …)."""
        mean, spread = self.network(*self._inside(fields))
        return self._outside(mean), spread * self.scales[-1]

    def answers(self, *fields: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map raw fields, each (batch, …), to what each member answers, raw (batch, …)."""
        assert isinstance(self.network, WithSpread)
        return tuple(self._outside(answer) for answer in self.network.answers(*self._inside(fields)))


def normalised(network: torch.nn.Module, inputs: Sequence[str], target: str) -> Normalised:
    """Return a network between raw fields; see `Normalised`."""
    kind = NormalisedWithSpread if isinstance(network, WithSpread) else Normalised
    return kind(network, inputs, target)
