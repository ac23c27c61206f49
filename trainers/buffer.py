"""What a buffer is between a stream that never repeats itself and a training that wants to.

A sample that has never been drawn is never dropped: where one more would make that necessary, `room()` is 0
and `add` refuses. Draws are made by a seeded generator of the buffer's own, and `state_dict` has all that a
buffer needs to go on with the same draws. Buffers know no database and no process group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, MutableSequence
from typing import Any, Protocol, TypeVar

import numpy as np

from trainers.bound import Bound
from trainers.errors import BufferEmpty, BufferFull
from trainers.samples import Numbered, Sample, nbytes_of

AGES = 1024
"""So many draws are remembered with their ages."""

Item_contra = TypeVar("Item_contra", contravariant=True)


class Buffer(Protocol[Item_contra]):
    """What the training loop asks of a buffer."""

    @property
    def watermark(self) -> int:
        """How many samples there must be before the first draw."""
        ...

    @property
    def unseen(self) -> int:
        """How many of the samples have never been drawn."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether it was drained and nothing is left."""
        ...

    def room(self) -> int:
        """Return how many more are surely taken in, 0 when full; none larger than those before is assumed."""
        ...

    def add(self, item: Item_contra, /) -> None:
        """Take one in; one that was drawn already may have to go. An addition ends a drain.

        Raises:
            BufferFull: it does not fit beside those that have never been drawn; nothing has changed.
            SampleTooLarge, BufferRefused: it can never fit.
        """
        ...

    def ready(self, count: int) -> bool:
        """Tell whether a batch of so many should be drawn now; a full buffer is always ready."""
        ...

    def sample(self, count: int) -> list[Sample]:
        """Draw a batch of at most so many; fewer only where no sample is drawn twice and there are no more.

        Raises:
            BufferEmpty
        """
        ...

    def drain(self) -> None:
        """Let no sample be drawn twice from now on, whatever the watermark: nothing more will come."""
        ...

    def __len__(self) -> int: ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is that of another kind of buffer, or of another bound.
        """
        ...


class Drawn(ABC):
    """What every buffer has in common: when a batch may be drawn, and that a drain draws nothing twice.

    Args:
        watermark: samples there must be before the first draw.
        seed: of the draws.
    """

    def __init__(self, watermark: int, seed: int) -> None:
        self._watermark = watermark
        self._generator = np.random.default_rng(seed)
        self._nbytes = self._added = 0
        self._largest: int | None = None
        self._draining = False
        self._ages: deque[int] = deque(maxlen=AGES)

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @property
    def nbytes(self) -> int:
        """Bytes of all the arrays that are held."""
        return self._nbytes

    @property
    def watermark(self) -> int:
        """How many samples there must be before the first draw."""
        return self._watermark

    @property
    def exhausted(self) -> bool:
        """Whether it was drained and nothing is left."""
        return self._draining and not len(self)

    @abstractmethod
    def room(self) -> int:
        """Return how many more are surely taken in, 0 when full; none larger than those before is assumed."""

    def ready(self, count: int) -> bool:
        """Tell whether a batch of so many should be drawn now; a full buffer is always ready."""
        if self._draining:
            return bool(len(self))
        return self._enough(count) or not self.room()

    def sample(self, count: int) -> list[Sample]:
        """Draw a batch; see the class.

        Raises:
            BufferEmpty
        """
        if count < 1:
            raise ValueError(f"a batch has at least one sample, {count} were asked for")
        if not len(self):
            raise BufferEmpty
        batch = self._draw(count)
        self._ages.extend([self._added - 1 - sample.number for sample in batch])
        return [*batch]

    def drain(self) -> None:
        """Let no sample be drawn twice from now on, whatever the watermark: nothing more will come."""
        self._draining = True

    @abstractmethod
    def given(self) -> dict[str, Any]:
        """Return what it was made with besides watermark and seed."""

    def ages(self) -> list[int]:
        """Return how many additions had come after each of the samples drawn lately, oldest draw first."""
        return list(self._ages)

    def _own_state(self) -> dict[str, Any]:
        return {
            "added": self._added,
            "largest": self._largest,
            "draining": self._draining,
            "generator": self._generator.bit_generator.state,
        }

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._added, self._largest = state["added"], state["largest"]
        self._draining = state["draining"]
        self._generator.bit_generator.state = state["generator"]

    @abstractmethod
    def _enough(self, count: int) -> bool:
        """Tell whether a batch may be drawn while more is to come."""

    @abstractmethod
    def _draw(self, count: int) -> list[Numbered]:
        """Draw from what is not empty."""


class Bounded(Drawn):
    """A buffer of samples; what is taken in and drawn how is up to its class.

    Args:
        samples: the most samples it holds; or
        nbytes: the most bytes of arrays it holds; or both.
        watermark: samples there must be before the first draw.
        seed: of the draws.

    Raises:
        BufferRefused: no bound, a watermark above it, or numbers below 1.
    """

    _samples: MutableSequence[Numbered]

    def __init__(
        self, samples: int | None = None, *, nbytes: int | None = None, watermark: int = 1, seed: int
    ) -> None:
        super().__init__(watermark, seed)
        self._bound = Bound(samples, nbytes)
        self._bound.check_watermark(watermark)
        self._samples = []
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def added(self) -> int:
        """How many samples were ever added."""
        return self._added

    @property
    def unseen(self) -> int:
        """How many of the samples have never been drawn: all, where a draw takes them out."""
        return len(self._samples)

    def room(self) -> int:
        """Return how many more are surely taken in, 0 when full; none larger than those before is assumed."""
        return self._bound.room(self.unseen, self._unseen_nbytes(), self._largest)

    def add(self, sample: Sample) -> None:
        """Take a sample in; see `Buffer.add`."""
        size = nbytes_of(sample)
        self._bound.check_size(size, self._watermark)
        if not self._bound.fits(self.unseen + 1, self._unseen_nbytes() + size):
            raise BufferFull(self.unseen, str(self._bound))
        self._put(Numbered(sample, self._added), size)
        self._nbytes += size
        self._added += 1
        self._largest = max(self._largest or 0, size)
        self._draining = False

    def sample(self, count: int) -> list[Sample]:
        """Draw a batch; see the class.

        Raises:
            BufferEmpty
        """
        batch = super().sample(count)
        self._drawn += len(batch)
        return batch

    def given(self) -> dict[str, Any]:
        """Return what it was made with besides watermark and seed."""
        return {"bound": str(self._bound)}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "kind": type(self).__name__,
            "bound": [self._bound.count, self._bound.nbytes],
            "samples": [dict(sample) for sample in self._samples],
            "numbers": [sample.number for sample in self._samples],
            "unseen": self.unseen,
            "drawn": self._drawn,
            **self._own_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: the state is that of another kind of buffer, or of another bound.
        """
        kind, bound = state["kind"], Bound(*state["bound"])
        if (kind, bound) != (type(self).__name__, self._bound):
            raise ValueError(
                f"the state is of a {kind} of {bound}, this is a {type(self).__name__} of {self._bound}"
            )
        self._samples = self._restored(list(map(Numbered, state["samples"], state["numbers"])), state)
        self._nbytes = sum(map(nbytes_of, self._samples))
        self._drawn = state["drawn"]
        self._load_own_state(state)

    def _put(self, sample: Numbered, size: int) -> None:
        self._samples.append(sample)

    def _unseen_nbytes(self) -> int:
        return self._nbytes

    def _restored(self, samples: list[Numbered], state: Mapping[str, Any]) -> MutableSequence[Numbered]:
        return samples
