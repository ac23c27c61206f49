"""Buffers of samples: Fifo, Firo and Reservoir.

The three are those of Melissa (Meyer et al., High Throughput Training of Deep Surrogates from Large Ensemble
Runs, SC 2023, arXiv:2309.16743); the code is ours. Each addition and each draw takes a time that does not
depend on how many samples are held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, MutableSequence
from typing import Any

import numpy as np

from trainers.buffer import Bounded
from trainers.errors import BufferRefused
from trainers.samples import Numbered, Sample, nbytes_of


class Once(Bounded):
    """A buffer that every sample leaves with its draw.

    A sample may be drawn in the round of the loader in which it has come. So it may come as a view of the
    database's memory, and go from there into its batch by one copy; `settle` ends the round.
    """

    def __init__(
        self, samples: int | None = None, *, nbytes: int | None = None, watermark: int = 1, seed: int
    ) -> None:
        super().__init__(samples, nbytes=nbytes, watermark=watermark, seed=seed)
        self._fresh: dict[int, Numbered] = {}  # those that came after the last `settle`, by their numbers

    def settle(self, own: Callable[[Sample], Sample]) -> None:
        """Keep those that came since the last call, and were not drawn, in memory of their own."""
        for sample in self._fresh.values():
            sample.update(own(sample))
        self._fresh.clear()

    def _put(self, sample: Numbered, size: int) -> None:
        super()._put(sample, size)
        self._fresh[sample.number] = sample

    def _left(self, batch: list[Numbered]) -> list[Numbered]:
        """Take note that samples have left; return them."""
        self._nbytes -= sum(map(nbytes_of, batch))
        for sample in batch:
            self._fresh.pop(sample.number, None)
        return batch


class Fifo(Once):
    """First in, first out: every sample is drawn once, in the order of arrival.

    The order of the stream is the order of learning, and no batch can be made faster than its samples come
    (Melissa's FIFO). A batch is smaller only from a full buffer, or when it is drained.
    """

    def __init__(
        self, samples: int | None = None, *, nbytes: int | None = None, watermark: int = 1, seed: int
    ) -> None:
        super().__init__(samples, nbytes=nbytes, watermark=watermark, seed=seed)
        self._samples = deque()

    def _enough(self, count: int) -> bool:
        return len(self) >= count and (self._drawn > 0 or len(self) >= self._watermark)

    def _draw(self, count: int) -> list[Numbered]:
        assert isinstance(self._samples, deque)
        return self._left([self._samples.popleft() for _ in range(min(count, len(self)))])

    def _restored(self, samples: list[Numbered], state: Mapping[str, Any]) -> MutableSequence[Numbered]:
        return deque(samples)


class Firo(Once):
    """First in, random out: every sample is drawn once, uniformly from those there are (Melissa's FIRO).

    The watermark is kept after each batch too, until it is drained, so that every draw is one of so many and
    the order of the stream is broken up. A batch is smaller only from a full buffer, or when it is drained.
    """

    def _enough(self, count: int) -> bool:
        return len(self) >= count and (len(self) - count >= self._watermark)

    def _draw(self, count: int) -> list[Numbered]:
        places = _places(self._generator, len(self), min(count, len(self)))
        return self._left([_taken_out(self._samples, place) for place in places])


class Reservoir(Bounded):
    """Uniform draws with repetition; what was drawn before makes room for what is new (Melissa's Reservoir).

    Each draw is uniform over all that are there, whether drawn before or not. A sample that comes in when it
    is full takes the place of one that was drawn already, a random one; while all have yet to be drawn, none
    comes in. When it is drained, each draw takes its sample out.

    Unlike a sample of the whole stream (algorithm R: Vitter, ACM TOMS 11, 1985) it holds newer samples more
    often than older ones, and never ignores one.
    """

    def __init__(
        self, samples: int | None = None, *, nbytes: int | None = None, watermark: int = 1, seed: int
    ) -> None:
        super().__init__(samples, nbytes=nbytes, watermark=watermark, seed=seed)
        self._unseen = self._nbytes_unseen = 0  # the unseen ones are at the front of the list

    @property
    def unseen(self) -> int:
        """How many of the samples have never been drawn."""
        return self._unseen

    def _unseen_nbytes(self) -> int:
        return self._nbytes_unseen

    def _enough(self, count: int) -> bool:
        return len(self) >= self._watermark

    def _put(self, sample: Numbered, size: int) -> None:
        while not self._bound.fits(len(self) + 1, self._nbytes + size):
            place = self._unseen + int(self._generator.integers(len(self) - self._unseen))
            self._nbytes -= nbytes_of(_taken_out(self._samples, place))
        self._samples.append(sample)
        _swap(self._samples, self._unseen, len(self) - 1)
        self._unseen += 1
        self._nbytes_unseen += size

    def _draw(self, count: int) -> list[Numbered]:
        if self._draining:
            places = _places(self._generator, len(self), min(count, len(self)))
            return [self._drained(place) for place in places]
        return [self._seen(int(place)) for place in self._generator.integers(len(self), size=count)]

    def _seen(self, place: int) -> Numbered:
        """Return the sample at a place, as one that has been drawn."""
        sample = self._samples[place]
        if place < self._unseen:
            self._unseen -= 1
            self._nbytes_unseen -= nbytes_of(sample)
            _swap(self._samples, place, self._unseen)
        return sample

    def _drained(self, place: int) -> Numbered:
        if place < self._unseen:
            self._seen(place)
            place = self._unseen
        sample = _taken_out(self._samples, place)
        self._nbytes -= nbytes_of(sample)
        return sample

    def _restored(self, samples: list[Numbered], state: Mapping[str, Any]) -> MutableSequence[Numbered]:
        self._unseen = state["unseen"]
        self._nbytes_unseen = sum(map(nbytes_of, samples[: self._unseen]))
        return samples


_KINDS: dict[str, type[Fifo] | type[Firo] | type[Reservoir]] = {
    "fifo": Fifo,
    "firo": Firo,
    "reservoir": Reservoir,
}


def buffer_named(
    name: str, samples: int | None = None, *, nbytes: int | None = None, watermark: int = 1, seed: int
) -> Fifo | Firo | Reservoir:
    """Make a buffer: "fifo", "firo" or "reservoir".

    Raises:
        BufferRefused: there is none of that name, and what the buffer itself refuses.
    """
    if name not in _KINDS:
        raise BufferRefused("name", name, f"one of {', '.join(_KINDS)}")
    return _KINDS[name](samples, nbytes=nbytes, watermark=watermark, seed=seed)


def _places(generator: np.random.Generator, held: int, count: int) -> list[int]:
    """Draw places one after the other from a list that loses one by each draw."""
    drawn: list[int] = generator.integers(np.arange(held, held - count, -1)).tolist()
    return drawn


def _taken_out(samples: MutableSequence[Numbered], place: int) -> Numbered:
    """Take the sample at a place out; the last one comes in its place."""
    _swap(samples, place, len(samples) - 1)
    return samples.pop()


def _swap(samples: MutableSequence[Numbered], one: int, other: int) -> None:
    samples[one], samples[other] = samples[other], samples[one]
