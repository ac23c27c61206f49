"""Rounds: before each gradient step every rank says how it is, and all draw the same conclusions.

No rank waits for the samples of another. Whoever has a batch says so, and a step is made when anyone has one;
a rank without takes part with no weight. So the same is done everywhere, whatever came where and when.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from trainers.distributed import Ranks

PATIENCE_S = 0.1
"""How long ranks wait for samples before they ask each other again, while none of them has a batch."""


@dataclass(frozen=True)
class Word:
    """What a rank says before a step: numbers, as they go in one message.

    Attributes:
        samples: in its batch.
        example: it has had a batch.
        exhausted: its buffer was drained, and it has taken the last batch.
        can_judge: it has the held-out samples.
        pressed: producers need a checkpoint.
        asked: it was told to end.
        progress: of the training, by its clock.
        cursor: in the stream.
    """

    samples: float
    example: float
    exhausted: float
    can_judge: float
    pressed: float
    asked: float
    progress: float
    cursor: float


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
        """Whose batch is shown to those who must take part and have never had one; None: there are none."""
        if not self.samples or all(word.samples or word.example for word in self.words):
            return None
        return next(rank for rank, word in enumerate(self.words) if word.samples)


class Rounds:
    """The rounds of one rank.

    Args:
        timeout_s: how long nothing may be read or learned by anybody.
    """

    def __init__(self, ranks: Ranks, timeout_s: float) -> None:
        self._ranks = ranks
        self._timeout_s = timeout_s
        self._cursors: tuple[float, ...] = ()
        self._moved_at = time.monotonic()
        self._hurry = True

    @property
    def stalled(self) -> bool:
        """Whether nothing has come for too long; alone, the loader says so itself."""
        return self._ranks.world > 1 and time.monotonic() - self._moved_at > self._timeout_s

    def agree(self, own: Word) -> Round:
        """Say one's own word and hear those of all ranks.

        Raises:
            RankLost
        """
        numbers = self._ranks.numbers([getattr(own, field.name) for field in fields(Word)])
        told = Round(tuple(Word(*each) for each in numbers))
        cursors = tuple(word.cursor for word in told.words)
        if told.samples or cursors != self._cursors:
            self._moved_at = time.monotonic()
        self._cursors = cursors
        self._hurry = told.samples > 0
        return told

    def keeps_others(self, waiting: Callable[[], bool]) -> Callable[[], bool]:
        """Return a question for who waits for a batch: is it time to take part without one?

        Args:
            waiting: tells whether there is nothing new to make a batch of.
        """
        until = math.inf if self._ranks.world == 1 else time.monotonic() + PATIENCE_S * (not self._hurry)
        return lambda: waiting() and time.monotonic() >= until
