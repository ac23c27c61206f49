"""When a training is good enough, or has had enough: rules that a user adds to `Training.until`.

A rule is asked after every validation and returns why the training is to end, or None. Any function that
does so is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trainers.errors import TrainingRefused
from trainers.rules import asking


@dataclass(frozen=True)
class Reached:
    """How far a training has come.

    Attributes:
        step: gradient steps made.
        seconds: spent on them, in earlier lives too.
        samples: learned from, each as often as it was drawn.
        validations: the validation losses so far, oldest first; at least one.
    """

    step: int
    seconds: float
    samples: int
    validations: Sequence[float]


Until = Callable[[Reached], str | None]


@dataclass(frozen=True)
class Target:
    """The training ends when the validation is at most this.

    Attributes:
        loss: of the validation.
    """

    loss: float

    def __post_init__(self) -> None:
        if not self.loss > 0:
            raise TrainingRefused("target loss", self.loss, "greater than 0")

    def __call__(self, reached: Reached) -> str | None:
        """Return why to end, if so."""
        last = reached.validations[-1]
        return f"the validation is {last:.4g}, {self.loss:g} was asked for" if last <= self.loss else None


@dataclass(frozen=True)
class Plateau:
    """The training ends when the best validation has not improved for a while.

    Attributes:
        validations: how many in a row may bring no improvement.
        improvement: what counts as one, as a fraction of the best before.
        least_step: the training goes on until this step in any case.
    """

    validations: int
    improvement: float = 0.01
    least_step: int = 0

    def __post_init__(self) -> None:
        if not self.validations >= 1:
            raise TrainingRefused("plateau's validations", self.validations, "1 or more")
        if not 0 <= self.improvement < 1:
            raise TrainingRefused("plateau's improvement", self.improvement, "from 0 to less than 1")

    def __call__(self, reached: Reached) -> str | None:
        """Return why to end, if so."""
        best, since = math.inf, 0
        for validation in reached.validations:
            improved = validation < best * (1 - self.improvement) or (math.isinf(best) and validation < best)
            since = 0 if improved else since + 1
            best = validation if improved else best
        if since < self.validations or reached.step < self.least_step:
            return None
        return f"{since} validations brought nothing better than {best:.4g}"


@dataclass(frozen=True)
class Budget:
    """The training ends when it has used so much; what is None is not limited.

    Attributes:
        steps: gradient steps.
        seconds: spent on them, s.
        samples: learned from, each as often as it was drawn.
    """

    steps: int | None = None
    seconds: float | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        limits = {"steps": self.steps, "seconds": self.seconds, "samples": self.samples}
        if not any(limit is not None for limit in limits.values()):
            raise TrainingRefused("budget", None, "some steps, seconds or samples")
        for name, limit in limits.items():
            if limit is not None and not limit > 0:
                raise TrainingRefused(f"budget's {name}", limit, "greater than 0, or None")

    def __call__(self, reached: Reached) -> str | None:
        """Return why to end, if so."""
        used = {"steps": reached.step, "seconds": reached.seconds, "samples": reached.samples}
        limits = {"steps": self.steps, "seconds": self.seconds, "samples": self.samples}
        for name, limit in limits.items():
            if limit is not None and used[name] >= limit:
                return f"the budget of {limit:g} {name} is used up"
        return None


def first_reason(rules: Iterable[Until], reached: Reached) -> str | None:
    """Return why a training is to end by the first rule that says so, None where none does.

    Raises:
        RuleFailed
    """
    with asking("until"):
        return next((reason for rule in rules if (reason := rule(reached)) is not None), None)
