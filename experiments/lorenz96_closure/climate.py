"""The climate of a run: how often X has which value, its mean and variance; and a strip of it to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from lorenz96 import Array

EDGES = np.arange(-30.0, 41.0)
"""Of the histogram's cells, one unit of X each; what is beyond is in the outer cells."""
STRIP = 120
"""States of the strip."""


class Climate:
    """Collects states of X.

    Attributes:
        counts: values in each cell: (cells,).
    """

    def __init__(self) -> None:
        self.counts = np.zeros(len(EDGES) - 1, dtype=np.int64)
        self._sum = 0.0
        self._square_sum = 0.0
        self._strip: list[Array] = []

    def add(self, x: Array) -> None:
        """Take in one state of all members: (members, slow)."""
        cells = np.clip((x - EDGES[0]).astype(np.int64), 0, len(self.counts) - 1)
        self.counts += np.bincount(cells.ravel(), minlength=len(self.counts))
        self._sum += float(x.sum())
        self._square_sum += float(np.square(x).sum())
        self._strip = [*self._strip[1 - STRIP :], x[0].copy()]

    def save(self, path: Path) -> None:
        """Write it; `load` reads it."""
        moments = np.array([self._sum, self._square_sum])
        np.savez(path, counts=self.counts, moments=moments, strip=np.array(self._strip))


class Collected:
    """A climate that has been written.

    Attributes:
        counts: values in each cell: (cells,).
        strip: the last states of one member: (STRIP or fewer, slow).
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.counts, self.strip = arrays["counts"], arrays["strip"]
        self._moments = arrays["moments"]

    def __add__(self, other: Collected) -> Collected:
        return Collected(
            {
                "counts": self.counts + other.counts,
                "moments": self._moments + other._moments,
                "strip": self.strip,
            }
        )

    @property
    def density(self) -> Array:
        """The share of each cell, which is one unit wide: (cells,)."""
        return self.counts / self.counts.sum()

    @property
    def mean(self) -> float:
        """The mean of X."""
        return float(self._moments[0] / self.counts.sum())

    @property
    def variance(self) -> float:
        """The variance of X."""
        return float(self._moments[1] / self.counts.sum()) - self.mean**2


def load(path: Path) -> Collected:
    """Read a climate."""
    with np.load(path) as file:
        return Collected(dict(file))


def hellinger(one: Array, other: Array) -> float:
    """Return the Hellinger distance of two densities over the same cells, from 0 to 1."""
    return float(np.sqrt(np.square(np.sqrt(one) - np.sqrt(other)).sum() / 2))
