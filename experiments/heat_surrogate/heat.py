"""The heated plate: u_t = D (u_xx + u_yy) + s on the unit square, periodic, by explicit finite differences.

Forward in time, centred in space, second order; stable for D dt / dx^2 <= 1/4. The source s is a few heaters
and coolers with no net power, switched at the beginning of every jump, so the plate never comes to rest.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
STABLE = 0.25


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


class Member:
    """One plate: its diffusivity, its initial field and its sources, all drawn from a seed and a number."""

    def __init__(self, plate: Plate, seed: int, wave: int = 0) -> None:
        self._plate = plate
        self._generator = np.random.default_rng([seed, wave])
        self.diffusivity = self._generator.uniform(plate.least_diffusivity, plate.greatest_diffusivity)
        self.initial = self._waves()

    def next_source(self) -> Field:
        """Draw two to four heaters and coolers that together add no heat: (points, points), K/s."""
        source = sum(self._heater() for _ in range(self._generator.integers(2, 5)))
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
        x = self._plate.positions
        (x0, y0), width = self._generator.uniform(0, 1, 2), self._generator.uniform(0.06, 0.12)
        power = self._generator.choice([-1, 1]) * self._generator.uniform(1, 2)
        dx, dy = (x - x0 + 0.5) % 1 - 0.5, (x - y0 + 0.5) % 1 - 0.5
        return power * np.exp(-(dx[:, None] ** 2 + dy[None, :] ** 2) / (2 * width**2))

    def _waves(self, highest: int = 4) -> Field:
        """Draw a smooth field without a mean, of unit standard deviation."""
        x, field = self._plate.positions, np.zeros((self._plate.points,) * 2)
        for kx in range(highest + 1):
            for ky in range(-highest, highest + 1):
                if (kx, ky) == (0, 0):
                    continue
                phase = 2 * np.pi * (kx * x[:, None] + ky * x[None, :] + self._generator.uniform())
                field += self._generator.normal() / (1 + kx**2 + ky**2) * np.cos(phase)
        return (field - field.mean()) / field.std()


def relative_error(found: Field, truth: Field) -> float:
    """Return the relative L2 error."""
    return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
