"""The two-scale Lorenz-96 system, whole and coarse, by the classical Runge-Kutta method of fourth order.

K slow variables X_k lie on a circle, and J fast ones Y_jk on the stretch of each (Lorenz, Predictability: a
problem partly solved, ECMWF 1996):

    dX_k/dt  = X_k-1 (X_k+1 - X_k-2) - X_k + F + B_k,    B_k = -(h c / b) sum_j Y_jk
    dY_jk/dt = c b Y_j+1,k (Y_j-1,k - Y_j+2,k) - c Y_jk + (h c / b) X_k

The Y form one circle of K J variables. B is the subgrid tendency: a coarse solver has X only, and needs a
closure that says what B is. Time is in the model's own units (one is about five days of weather).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Closure = Callable[[Array], Array]
"""X to B, both (members, slow)."""

LIMIT = 1e3
"""No X of the system comes near; a solver whose X does has blown up."""


class BlownUp(Exception):
    """A solver has left every state that the system has."""

    def __init__(self, time: float) -> None:
        super().__init__(f"after {time:g} time units an X is not below {LIMIT:g}: the solver has blown up")
        self.time = time


@dataclass(frozen=True)
class System:
    """The numbers of the system.

    Attributes:
        slow, fast: K, and J for each of them.
        forcing, coupling: F and h.
        amplitude_ratio, time_ratio: b and c, how much smaller and faster the Y are.
    """

    slow: int
    fast: int
    forcing: float
    coupling: float
    amplitude_ratio: float
    time_ratio: float

    def __post_init__(self) -> None:
        for name, least in (("slow", 4), ("fast", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        for name in ("amplitude_ratio", "time_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")

    @property
    def exchange(self) -> float:
        """What couples X and Y: h c / b."""
        return self.coupling * self.time_ratio / self.amplitude_ratio

    def arguments(self) -> list[str]:
        """Return the command line that `system_arguments` understands."""
        return [f"--{field.name}={getattr(self, field.name)}" for field in fields(self)]


def system_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a program take a System from its command line."""
    for field in fields(System):
        parser.add_argument(f"--{field.name}", type=int if field.type == "int" else float, required=True)


def system_from(arguments: argparse.Namespace) -> System:
    """Return the System that was given on the command line."""
    return System(**{field.name: getattr(arguments, field.name) for field in fields(System)})


class Truth:
    """The whole system, some members of it at once.

    Attributes:
        x: the slow variables: (members, slow).
        y: the fast ones, J for each X in turn: (members, slow * fast).
    """

    SPIN_UP = 5.0
    """Time units after which a random state is on the attractor."""

    def __init__(self, system: System, x: Array, y: Array, dt: float) -> None:
        self._system = system
        self._dt = dt
        self.x = x
        self.y = y
        self._stage_y = np.empty((len(x), system.slow * system.fast + 3))
        self._sum_y = np.empty_like(y)
        self._rate_y = np.empty_like(y)
        self._damped_y = np.empty_like(y)

    @classmethod
    def spun_up(cls, system: System, members: int, seed: int, dt: float) -> Truth:
        """Return members on the attractor, each from a state of its own."""
        draw = np.random.default_rng(seed)
        x = draw.normal(system.forcing / 4, system.forcing / 4, (members, system.slow))
        truth = cls(system, x, draw.normal(0, 0.1, (members, system.slow * system.fast)), dt)
        truth.advance(steps_of(cls.SPIN_UP, dt))
        return truth

    def subgrid(self) -> Array:
        """Return B: (members, slow)."""
        return self._subgrid(self.y)

    def advance(self, steps: int, pull: Closure | None = None) -> None:
        """Make steps.

        Args:
            pull: a further tendency of X, constant within a step; none by default.

        Raises:
            BlownUp
        """
        for _ in range(steps):
            self._step(0.0 if pull is None else pull(self.x))
        if not np.abs(self.x).max() < LIMIT:
            raise BlownUp(steps * self._dt)

    def _step(self, pull: Array | float) -> None:
        forcing, x, stage_x = self._system.forcing + pull, self.x, self.x
        sum_x: Array | float = 0.0
        stage, total = self._stage_y, self._sum_y
        stage[:, 1:-2] = self.y
        for weight, reach in ((1, 0.5), (2, 0.5), (2, 1.0), (1, 0.0)):
            rate_x = slow_rate(stage_x, forcing + self._subgrid(stage[:, 1:-2]))
            rate_y = self._fast_rate(stage_x)
            sum_x = sum_x + weight * rate_x
            if weight == 1 and reach:
                total[:] = rate_y
            else:
                total += rate_y if weight == 1 else 2 * rate_y
            if reach:
                stage_x = x + reach * self._dt * rate_x
                rate_y *= reach * self._dt
                np.add(self.y, rate_y, out=stage[:, 1:-2])
        self.x = x + self._dt / 6 * sum_x
        total *= self._dt / 6
        self.y += total

    def _fast_rate(self, x: Array) -> Array:
        """Return dY/dt of the stage, in an array that the next call overwrites."""
        system, stage, rate = self._system, self._stage_y, self._rate_y
        stage[:, 0], stage[:, -2:] = stage[:, -3], stage[:, 1:3]
        np.subtract(stage[:, :-3], stage[:, 3:], out=rate)
        rate *= system.time_ratio * system.amplitude_ratio
        rate *= stage[:, 2:-1]
        rate -= np.multiply(stage[:, 1:-2], system.time_ratio, out=self._damped_y)
        by_slow = rate.reshape(*x.shape, system.fast)
        by_slow += system.exchange * x[:, :, None]
        return rate

    def _subgrid(self, y: Array) -> Array:
        by_slow = y.reshape(len(y), self._system.slow, self._system.fast)
        return -self._system.exchange * by_slow.sum(axis=2)


class Coarse:
    """The solver without the fast variables; in their place a closure, asked once in a step.

    Attributes:
        x: (members, slow).
        steps: made so far.
    """

    def __init__(self, system: System, x: Array, dt: float, closure: Closure) -> None:
        self._system = system
        self._dt = dt
        self._closure = closure
        self.x = x
        self.steps = 0

    def step(self) -> None:
        """Make one step.

        Raises:
            BlownUp
        """
        x, dt = self.x, self._dt
        forcing = self._system.forcing + self._closure(x)
        first = slow_rate(x, forcing)
        second = slow_rate(x + dt / 2 * first, forcing)
        third = slow_rate(x + dt / 2 * second, forcing)
        fourth = slow_rate(x + dt * third, forcing)
        self.x = x + dt / 6 * (first + 2 * (second + third) + fourth)
        self.steps += 1
        if not np.abs(self.x).max() < LIMIT:
            raise BlownUp(self.steps * dt)


def slow_rate(x: Array, forcing: Array) -> Array:
    """Return dX/dt: (members, slow).

    Args:
        forcing: F + B: (members, slow).
    """
    around = np.concatenate([x[:, -2:], x, x[:, :1]], axis=1)
    return around[:, 1:-2] * (around[:, 3:] - around[:, :-3]) - x + forcing


def steps_of(time: float, dt: float) -> int:
    """Return how many steps of dt make up a time.

    Raises:
        ValueError: no whole number does.
    """
    steps = round(time / dt)
    if steps < 1 or abs(steps * dt - time) > 1e-6 * time:
        raise ValueError(f"{time:g} time units are no whole number of steps of {dt:g}")
    return steps
