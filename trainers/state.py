"""All that must survive a crash of the trainer: the parts, how far they have come, and their checkpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainers.batches import Batch, size_of
from trainers.distributed import Ranks
from trainers.errors import CheckpointError
from trainers.loader import Loader
from trainers.publish import Publisher
from trainers.rounds import Word
from trainers.settings import Training
from trainers.share import Share
from trainers.shared_checkpoint import SharedCheckpoint
from trainers.until import Reached, Target, first_reason

_OWN = ("step", "seconds", "loss", "over", "validations")


@dataclass
class TrainingState:
    """All that must survive a crash of the trainer.

    Attributes:
        world: how many ranks train together.
        step: gradient steps made.
        seconds: spent on them, in earlier lives too.
        loss: of the last step.
        over: the training has ended.
        validations: all so far.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loader: Loader
    publisher: Publisher
    checkpoint: SharedCheckpoint
    world: int
    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    over: bool = False
    validations: list[float] = field(default_factory=list)
    _started_at: float | None = None

    def start_clock(self) -> None:
        """Count the seconds from now on, unless they are counted already; waiting for samples is free."""
        if self._started_at is None:
            self._started_at = time.monotonic()

    def elapsed(self) -> float:
        """Return the seconds spent on training, in earlier lives too."""
        running = 0.0 if self._started_at is None else time.monotonic() - self._started_at
        return self.seconds + running

    def progress(self, training: Training) -> float:
        """Return how much of the training is done, 1 when it is over."""
        return max(self.step / training.steps, self.elapsed() / training.seconds)

    def samples(self, training: Training) -> int:
        """Return how many samples were learned from, each as often as it was drawn."""
        return self.step * training.batch_size * self.world

    def reason(self, training: Training) -> str | None:
        """Return why the training is to end after this validation, if so."""
        target = () if training.converged is None else (Target(training.converged),)
        now = Reached(self.step, self.elapsed(), self.samples(training), self.validations)
        return first_reason((*target, *training.until), now)

    def finished(self, training: Training, ranks: Ranks, path: Path) -> str | None:
        """Return why what was resumed is not gone on with, and what would be; None: it goes on.

        A training that has ended is asked again whether it would, for its limits and rules may be others now.
        All ranks call this together, and hear the same.

        Args:
            path: of the checkpoint.

        Raises:
            RuleFailed, RankLost
        """
        used = {"steps": self.step, "seconds": self.elapsed()}
        limits = {name: getattr(training, name) for name in used}
        if reached := [f"{limit} {name}" for name, limit in limits.items() if used[name] >= limit]:
            return f"its {' and '.join(reached)} are used up; with more of them it goes on from {path}"
        if not self.over:
            return None
        if all(ranks.gather(self.loader.exhausted)):
            return f"all that came was learned from; a new one begins where there is no {path}"
        rules = ranks.rank == 0 and self.validations
        reason = ranks.broadcast(self.reason(training) if rules else None)
        return reason and f"{reason}; under other rules it goes on from {path}"

    def held(self) -> dict[str, int]:
        """Return what this rank has, in numbers that are added up over all of them."""
        with self.loader.paused() as intake:
            skipped = intake.stream.non_finite
            return {
                "samples": len(intake.buffer),
                "unseen": intake.buffer.unseen,
                "non_finite": skipped,
            }

    def word(self, training: Training, batch: Batch | None, asked: bool) -> Word:
        """Return what this rank says before a step."""
        return Word(
            samples=0 if batch is None else size_of(batch),
            exhausted=self.loader.exhausted,
            can_judge=self.loader.intake.can_judge(),
            pressed=self.loader.pressed,
            asked=asked,
            progress=self.progress(training),
            cursor=self.loader.intake.stream.cursor,
            fed=self.loader.intake.fed,
        )

    def save(self) -> None:
        """Write a checkpoint; what it holds need not be kept in the database any more."""
        with self.loader.paused() as intake:
            parts = {name: part.state_dict() for name, part in self._parts().items()}
            own = {name: getattr(self, name) for name in _OWN} | {"seconds": self.elapsed()}
            common = {"parts": parts, "own": own, "torch": torch.get_rng_state()}
            intake.stream.acknowledge(self.checkpoint.save(common, self.loader.state_dict()))
            self.loader.pressed = False
            if self.over:
                intake.tell_absent()

    def resume(self, path: Path, share: Share) -> bool:
        """Go on from a checkpoint; tell whether there is one.

        Raises:
            CheckpointError: it is garbage, or of another network.
        """
        state = self.checkpoint.load(share.owns_trajectory)
        if state is None:
            return False
        try:
            self.loader.load_state_dict(state["loader"])
            for name, part in self._parts().items():
                part.load_state_dict(state["parts"][name])
            for name in _OWN:
                setattr(self, name, state["own"][name])
            torch.set_rng_state(state["torch"])
        except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(path, f"it is of another training: {error}") from error
        return True

    def _parts(self) -> dict[str, Any]:
        names = ("network", "optimizer", "publisher")
        return {name: getattr(self, name) for name in names}
