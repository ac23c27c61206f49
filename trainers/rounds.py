"""Rounds: before each gradient step every rank says how it is, and all draw the same conclusions.

No rank waits for the samples of another. Whoever has a batch says so, and a step is made when anyone has one;
a rank without takes part with no weight. So the same is done everywhere, whatever came where and when.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch

from trainers.batches import Batch, first_of, moved, size_of
from trainers.distributed import Ranks

PATIENCE_S = 0.1
"""How long ranks wait for samples before they ask each other again, while none of them has a batch."""


@dataclass(frozen=True)
class Word:
    """What a rank says before a step: numbers, as they go in one message.

    Attributes:
        samples: in its batch.
        exhausted: its buffer was drained, and it has taken the last batch.
        can_judge: it has the held-out samples.
        pressed: producers need a checkpoint.
        asked: it was told to end.
        progress: of the training, by its clock.
        cursor: in the stream.
        fed: how many snapshots it has taken in that were of use.
        shown: it knows a sample, having had a batch or seen another rank's.
    """

    samples: float
    exhausted: float
    can_judge: float
    pressed: float
    asked: float
    progress: float
    cursor: float
    fed: float = 0.0
    shown: float = 0.0


@dataclass(frozen=True)
class Round:
    """What all ranks said; the same at each of them."""

    words: tuple[Word, ...]

    @property
    def samples(self) -> int:
        """How many the step is made with, of all ranks together; with 0 there is none."""
        return int(sum(word.samples for word in self.words))

    @property
    def exhausted(self) -> bool:
        """Whether nobody will have a batch any more."""
        return all(word.exhausted for word in self.words)

    @property
    def can_judge(self) -> bool:
        """Whether rank 0 has the held-out samples."""
        return bool(self.words[0].can_judge)

    @property
    def pressed(self) -> bool:
        """Whether producers need a checkpoint."""
        return any(word.pressed for word in self.words)

    @property
    def asked(self) -> bool:
        """Whether anyone was told to end."""
        return any(word.asked for word in self.words)

    @property
    def progress(self) -> float:
        """How much of the training is done, by the clock that is ahead."""
        return max(word.progress for word in self.words)

    @property
    def lowest(self) -> int:
        """Before which position of the stream everybody has read."""
        return int(min(word.cursor for word in self.words))

    @property
    def source(self) -> int | None:
        """Whose sample is shown to those who must take part and know none; None: all do."""
        if not self.samples or all(word.samples or word.shown for word in self.words):
            return None
        return next(rank for rank, word in enumerate(self.words) if word.samples)


class Rounds:
    """The rounds of one rank.

    Args:
        timeout_s: how long nothing may be read or learned by anybody.
        device: of the network.
    """

    def __init__(self, ranks: Ranks, timeout_s: float, device: torch.device) -> None:
        self._ranks = ranks
        self._timeout_s = timeout_s
        self._device = device
        self._fed: tuple[float, ...] = ()
        self._moved_at = time.monotonic()
        self._hurry = True
        self._shown: Batch | None = None  # a sample, for steps to which this rank has none to add
        self._told = Round(())

    @property
    def stalled(self) -> bool:
        """Whether nothing has come for too long; alone, the loader says so itself."""
        return self._ranks.world > 1 and time.monotonic() - self._moved_at > self._timeout_s

    def agree(self, own: Word, batch: Batch | None) -> Round:
        """Say one's own word and hear those of all ranks.

        Args:
            batch: that this rank has for the step.

        Raises:
            RankLost
        """
        if batch is not None and self._shown is None and self._ranks.world > 1:
            self._shown = first_of(batch)
        own = replace(own, shown=self._shown is not None)
        numbers = self._ranks.numbers([getattr(own, field.name) for field in fields(Word)])
        told = self._told = Round(tuple(Word(*each) for each in numbers))
        fed = tuple(word.fed for word in told.words)
        if told.samples or fed != self._fed:
            self._moved_at = time.monotonic()
        self._fed = fed
        self._hurry = told.samples > 0
        if told.source is not None:
            self._shown = self._ranks.broadcast(self._shown, told.source)
        return told

    def weighed(self, batch: Batch | None) -> tuple[Batch, float]:
        """Return what this rank makes the step with that was agreed on, and the weight of its mean loss.

        The mean of all ranks' is then that over all samples. Who has no batch takes what others have shown,
        with no weight: its network must run as the others' do.
        """
        if batch is not None:
            return batch, self._ranks.world * size_of(batch) / self._told.samples
        assert self._shown is not None
        return moved(self._shown, self._device), 0.0

    def until(self, asked: Callable[[], bool], waiting: Callable[[], bool]) -> Callable[[], bool]:
        """Return what ends the wait for a batch: to be asked to end, or that the others may have one.

        Args:
            waiting: tells whether there is nothing new here to make a batch of.
        """
        if self._ranks.world == 1:
            return asked
        patience = time.monotonic() + PATIENCE_S * (not self._hurry)
        return lambda: asked() or (waiting() and time.monotonic() >= patience)
