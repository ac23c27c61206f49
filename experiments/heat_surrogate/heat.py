"""The heated plate: u_t = D (u_xx + u_yy) + s on the unit square, periodic, by explicit finite differences.

Forward in time, centred in space, second order; stable for D dt / dx^2 <= 1/4. The source s is a few heaters
and coolers with no net power, switched at the beginning of every jump, so the plate never comes to rest.

simulate.c and simulate.f90 are the same in other languages: what is changed here changes there.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
STABLE = 0.25
SEEDS = 2**31
"""A seed is smaller: it must fit into half of a state of Draws."""


@dataclass(frozen=True)
class Plate:
    """Grid and time scales.

    Attributes:
        points: grid points in each direction.
        jump_steps: solver steps in a jump.
        jump_time: duration of a jump, s.
        least_diffusivity, greatest_diffusivity: bounds of D, m2/s.
    """

    points: int
    jump_steps: int
    jump_time: float
    least_diffusivity: float
    greatest_diffusivity: float

    def __post_init__(self) -> None:
        if not 0 < self.least_diffusivity <= self.greatest_diffusivity:
            raise ValueError(
                f"diffusivities from {self.least_diffusivity} to {self.greatest_diffusivity} m2/s"
            )
        number = self.greatest_diffusivity * self.jump_time / self.jump_steps * self.points**2
        if number > STABLE:
            raise ValueError(
                f"D dt / dx^2 is {number:.3g}, the solver is stable up to {STABLE}: take more jump_steps"
            )

    def arguments(self) -> list[str]:
        """Return the command line that `plate_arguments` understands."""
        return [f"--{field.name}={getattr(self, field.name)}" for field in fields(self)]

    @property
    def positions(self) -> Field:
        """The grid points' coordinate in one direction: (points,), m."""
        return np.arange(self.points) / self.points


def plate_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a program take a Plate from its command line."""
    for field in fields(Plate):
        parser.add_argument(f"--{field.name}", type=int if field.type == "int" else float, required=True)


def plate_from(arguments: argparse.Namespace) -> Plate:
    """Return the Plate that was given on the command line."""
    return Plate(**{field.name: getattr(arguments, field.name) for field in fields(Plate)})


class Draws:
    """Random numbers that are the same in C and Fortran: xorshift64 (Marsaglia, J. Stat. Softw. 8, 2003).

    Args:
        seed: 0 to SEEDS - 1.
        wave: 0 to SEEDS - 1; each has numbers of its own.
    """

    _BITS = 2**64 - 1
    _WARM_UP = 32

    def __init__(self, seed: int, wave: int) -> None:
        if not 0 <= seed < SEEDS:
            raise ValueError(f"a seed is 0 to {SEEDS - 1}, got {seed}")
        self._state = (seed << 32) + wave + 1
        for _ in range(self._WARM_UP):
            self._next()

    def uniform(self, least: float = 0.0, greatest: float = 1.0) -> float:
        """Draw a number of [least, greatest)."""
        return least + (greatest - least) * ((self._next() >> 11) * 2.0**-53)

    def normal(self) -> float:
        """Draw a number of the standard normal distribution (Box and Muller)."""
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())

    def _next(self) -> int:
        state = self._state
        state ^= state << 13 & self._BITS
        state ^= state >> 7
        state ^= state << 17 & self._BITS
        self._state = state
        return state


class Member:
    """One plate: its diffusivity, its initial field and its sources, all drawn from a seed and a number."""

    def __init__(self, plate: Plate, seed: int, wave: int = 0) -> None:
        self._plate = plate
        self._draws = Draws(seed, wave)
        self.diffusivity = self._draws.uniform(plate.least_diffusivity, plate.greatest_diffusivity)
        self.initial = self._waves()

    def next_source(self) -> Field:
        """Draw two to four heaters and coolers that together add no heat: (points, points), K/s."""
        source = sum(self._heater() for _ in range(int(self._draws.uniform(2, 5))))
        return source - source.mean()

    def advance(self, u: Field, source: Field) -> Field:
        """Return the field one jump later, by `jump_steps` solver steps: (points, points), K."""
        plate = self._plate
        dt = plate.jump_time / plate.jump_steps
        number, heat = self.diffusivity * dt * plate.points**2, dt * source
        padded = np.empty((plate.points + 2, plate.points + 2))
        inner = padded[1:-1, 1:-1]
        inner[:] = u
        for _ in range(plate.jump_steps):
            padded[0], padded[-1] = padded[-2], padded[1]
            padded[:, 0], padded[:, -1] = padded[:, -2], padded[:, 1]
            neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
            inner[:] = (1 - 4 * number) * inner + number * neighbours + heat
        return inner.copy()

    def _heater(self) -> Field:
        x, draw = self._plate.positions, self._draws.uniform
        x0, y0, width = draw(), draw(), draw(0.06, 0.12)
        power = (-1 if draw() < 0.5 else 1) * draw(1, 2)
        dx, dy = (x - x0 + 0.5) % 1 - 0.5, (x - y0 + 0.5) % 1 - 0.5
        return power * np.exp(-(dx[:, None] ** 2 + dy[None, :] ** 2) / (2 * width**2))

    def _waves(self, highest: int = 4) -> Field:
        """Draw a smooth field without a mean, of unit standard deviation."""
        x, field = self._plate.positions, np.zeros((self._plate.points,) * 2)
        for kx in range(highest + 1):
            for ky in range(-highest, highest + 1):
                if (kx, ky) == (0, 0):
                    continue
                phase = 2 * np.pi * (kx * x[:, None] + ky * x[None, :] + self._draws.uniform())
                field += self._draws.normal() / (1 + kx**2 + ky**2) * np.cos(phase)
        return (field - field.mean()) / field.std()


def relative_error(found: Field, truth: Field) -> float:
    """Return the relative L2 error."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
