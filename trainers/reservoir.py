"""Bounded buffers between a stream that never repeats itself and a training that wants to.

They hold any samples, know no database and no process group, draw from a seeded generator of their own, and
can be saved and restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

Sample = TypeVar("Sample")


class Buffer(Protocol[Sample]):
    """What the training loop asks of a buffer."""

    def add(self, sample: Sample) -> None:
        """Take a sample in; one that is there may have to go, or this one is not kept."""
        ...

    def sample(self, count: int) -> list[Sample]:
        """Draw `count` samples uniformly, with replacement."""
        ...

    def __len__(self) -> int: ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        ...


class _Bounded(Generic[Sample]):
    """A list of at most `capacity` samples, how many were ever added, and a generator."""

    def __init__(self, capacity: int, seed: int) -> None:
        if capacity < 1:
            raise ValueError(f"a buffer holds at least one sample, got a capacity of {capacity}")
        self._capacity = capacity
        self._samples: list[Sample] = []
        self._seen = 0
        self._generator = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def seen(self) -> int:
        """How many samples were ever added."""
        return self._seen

    def sample(self, count: int) -> list[Sample]:
        """Draw `count` samples uniformly, with replacement.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self._samples:
            raise ValueError("the buffer is empty, there is nothing to draw from")
        return [self._samples[i] for i in self._generator.integers(len(self._samples), size=count)]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "capacity": self._capacity,
            "samples": list(self._samples),
            "seen": self._seen,
            "generator": self._generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is that of a buffer of another capacity.
        """
        if state["capacity"] != self._capacity:
            raise ValueError(
                f"the state is of a buffer of {state['capacity']}, this one holds {self._capacity}"
            )
        self._samples = list(state["samples"])
        self._seen = state["seen"]
        self._generator.bit_generator.state = state["generator"]


class Fifo(_Bounded[Sample]):
    """The newest samples: a full buffer drops its oldest."""

    def add(self, sample: Sample) -> None:
        """Take a sample in, in place of the oldest when full."""
        if len(self) < self._capacity:
            self._samples.append(sample)
        else:
            self._samples[self._seen % self._capacity] = sample
        self._seen += 1


class Reservoir(_Bounded[Sample]):
    """A uniform sample of everything ever added (algorithm R: Vitter, ACM TOMS 11, 1985).

    After n additions each of the n samples is held with probability capacity / n.
    """

    def add(self, sample: Sample) -> None:
        """Take a sample in with probability capacity / n, in place of a random one when full."""
        self._seen += 1
        if len(self) < self._capacity:
            self._samples.append(sample)
            return
        place = int(self._generator.integers(self._seen))
        if place < self._capacity:
            self._samples[place] = sample
