"""The loop: snapshots come in, gradient steps are made, better networks go out. Read it top to bottom.

A script of an experiment builds the network and calls `train`; everything it needs is an argument. Killed at
any moment and started again with the same directory, it goes on from its last checkpoint: a snapshot is
acknowledged once a checkpoint holds it. A stream that fills up is answered by an early checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sim_clients import Client, Snapshot
from trainers import checkpoint
from trainers.board import Board
from trainers.buffer import Buffer
from trainers.errors import CheckpointError, NonFiniteLoss, NoSamples, TrainingRefused, TrainingStopped
from trainers.history import History, buffer_facts
from trainers.loader import Batch, Pairing, batch_of
from trainers.pairs import Pairs
from trainers.publish import Publisher
from trainers.samples import NEXT, Sample
from trainers.specimen import keep_specimen
from trainers.stopping import asked_to_end
from trainers.stream import LOOK_EVERY_S, SnapshotStream

CHECKPOINT = "checkpoint.pt"
_POSITIVE = (
    *("steps", "seconds", "judges", "batch_size", "learning_rate"),
    *("validate_every", "checkpoint_every", "timeout_s"),
)
_OWN = ("judges", "step", "seconds", "loss", "over")


@dataclass(frozen=True)
class Training:
    """What to train on, and for how long.

    Attributes:
        model: the name the network is posted under.
        producers: whose snapshots it learns from.
        held_out: whose snapshots only judge it.
        inputs: fields in the order of the network's arguments.
        target: the field whose value one jump later is learned.
        jump: solver steps between an input and its target; 0 when one snapshot holds both.
        steps: gradient steps; the learning rate falls to zero with the last.
        seconds: the training ends so long after its first step, also with fewer steps.
        judges: held-out samples that every network is judged by; later ones are not used.
        validate_every, checkpoint_every: in gradient steps.
        improvement: by which fraction a network must be better than the last one posted.
        timeout_s: how long the producers may be silent.
        converged: the training ends when the validation is at most this; by default it goes on.
        end_with_producers: when all producers have ended and all they put was taken in, the buffer is
            drained, and the training ends when nothing is left; by default it goes on learning from what it
            has, which is nothing where the buffer lets no sample be drawn twice.
        tensorboard: the history is written for TensorBoard too; needs its package.
    """

    model: str
    producers: tuple[str, ...]
    held_out: tuple[str, ...]
    inputs: tuple[str, ...]
    target: str
    jump: int
    steps: int
    seconds: float
    judges: int = 16
    batch_size: int = 16
    learning_rate: float = 4e-3
    validate_every: int = 25
    checkpoint_every: int = 200
    improvement: float = 0.02
    timeout_s: float = 60.0
    converged: float | None = None
    end_with_producers: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise TrainingRefused(name, getattr(self, name), "greater than 0")
        if self.converged is not None and not self.converged > 0:
            raise TrainingRefused("converged", self.converged, "greater than 0, or None")
        for name in ("producers", "held_out", "inputs"):
            if not getattr(self, name):
                raise TrainingRefused(name, getattr(self, name), "at least one name")


def train(
    network: torch.nn.Module,
    client: Client,
    training: Training,
    buffer: Buffer[Sample] | Pairs,
    directory: Path,
) -> Publisher:
    """Train a network on a stream of snapshots while it flows.

    Args:
        buffer: what the batches are drawn from; while it is full, no more is taken in.
        directory: for the checkpoint, the history and the specimens; an existing checkpoint is gone on from.

    Returns:
        The publisher, which knows the last version and its loss.

    Raises:
        TrainingStopped: this process was told to end (SIGTERM); the checkpoint is written.
        TrainerError, ClientError: naming what went wrong.
    """
    board = Board(directory) if training.tensorboard else None
    with asked_to_end() as asked, History(directory, board) as history:
        return _train(network, client, training, buffer, history, asked)


def _train(
    network: torch.nn.Module,
    client: Client,
    training: Training,
    buffer: Buffer[Sample] | Pairs,
    history: History,
    asked: Callable[[], bool],
) -> Publisher:
    directory = history.directory
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    producers = training.producers + training.held_out
    stream = SnapshotStream(client, producers, timeout_s=training.timeout_s, consumer=training.model)
    pairing = Pairing(training.inputs, training.target, training.jump)
    publisher = Publisher(client, training.model, improvement=training.improvement)
    state = TrainingState(network, optimizer, stream, pairing, buffer, publisher)
    state.resume(directory / CHECKPOINT)
    stream.subscribe()
    if publisher.is_lost():
        judges = batch_of(state.judges)
        example = [judges[name][:1] for name in training.inputs]
        publisher.post_again(network, example, judge(network, judges, training))

    over = state.over or state.progress(training) >= 1
    while not over:
        if asked():
            state.save(directory / CHECKPOINT)
            raise TrainingStopped(state.step, directory / CHECKPOINT)

        # 1. Take in what has been announced, no more than the buffer has room for and at most a batch a step,
        #    so that fast solvers cannot keep the trainer from learning; wait only while there is too little
        #    to learn from.
        room = buffer.room()
        starved = not buffer.ready(training.batch_size) or (room > 0 and not state.can_judge(training))
        limit = room if starved else min(room, training.batch_size)
        snapshots = stream.wait(limit, unless=asked) if starved else stream.new(limit)
        for snapshot in snapshots:
            state.take(snapshot, training)
        if stream.presses(look_every_s=0 if starved else LOOK_EVERY_S):
            state.save(directory / CHECKPOINT)
        if starved:
            if not snapshots and not asked():
                state.stream_has_ended(training)
            if not buffer.exhausted:
                continue

        # 2. One gradient step, unless the last sample has been used.
        if not buffer.exhausted:
            state.start_clock()
            optimizer.param_groups[0]["lr"] = training.learning_rate * schedule(state.progress(training))
            batch = batch_of(buffer.sample(training.batch_size))
            state.loss = gradient_step(network, optimizer, batch, training)
            state.step += 1
            if not math.isfinite(state.loss):
                raise NonFiniteLoss(state.step, state.loss)

        # 3. Judge it by members it never learns from, the last one in any case; post it if it is better.
        over = state.progress(training) >= 1 or buffer.exhausted
        version = None
        if over or (state.step % training.validate_every == 0 and state.can_judge(training)):
            if training.end_with_producers and stream.drained():
                buffer.drain()
            judges = state.judges_batch(training)
            validation = judge(network, judges, training)
            over = over or (training.converged is not None and validation <= training.converged)
            version = publisher.offer(network, [judges[name][:1] for name in training.inputs], validation)
            record(history, state, training, validation, version)

        # 4. Remember.
        if version is not None or state.step % training.checkpoint_every == 0:
            state.save(directory / CHECKPOINT)
    state.over = True
    state.save(directory / CHECKPOINT)
    stream.leave()
    return publisher


@dataclass
class TrainingState:
    """All that must survive a crash of the trainer.

    Attributes:
        judges: the held-out samples.
        step: gradient steps made.
        seconds: spent on them, in earlier lives too.
        loss: of the last step.
        over: the training has ended.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    stream: SnapshotStream
    pairing: Pairing
    buffer: Buffer[Sample] | Pairs
    publisher: Publisher
    judges: list[Sample] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    over: bool = False
    _started_at: float | None = None

    def take(self, snapshot: Snapshot, training: Training) -> None:
        """Add a snapshot, or the sample that it completes, to the buffer or to the judges."""
        if snapshot.producer in training.held_out:
            if (sample := self.pairing.add(snapshot)) and not self.can_judge(training):
                self.judges.append(sample)
        elif isinstance(self.buffer, Pairs):
            self.buffer.add(snapshot)
        elif sample := self.pairing.add(snapshot):
            self.buffer.add(sample)

    def can_judge(self, training: Training) -> bool:
        """Tell whether all the held-out samples are there."""
        return len(self.judges) >= training.judges

    def judges_batch(self, training: Training) -> Batch:
        """Return the held-out samples, stacked.

        Raises:
            NoSamples: there are too few.
        """
        if not self.can_judge(training):
            raise self._too_few(training)
        return batch_of(self.judges)

    def stream_has_ended(self, training: Training) -> None:
        """Drain the buffer, if there was enough to begin with and to judge by.

        Raises:
            NoSamples
        """
        begun = self.step > 0 or len(self.buffer) >= self.buffer.watermark
        if not begun or not self.can_judge(training):
            raise self._too_few(training)
        self.buffer.drain()

    def _too_few(self, training: Training) -> NoSamples:
        return NoSamples(len(self.buffer), self.buffer.watermark, len(self.judges), training.judges)

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

    def save(self, path: Path) -> None:
        """Write a checkpoint; what it holds need not be kept in the database any more."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        own = {name: getattr(self, name) for name in _OWN} | {"seconds": self.elapsed()}
        checkpoint.save(path, {"parts": parts, "own": own, "torch": torch.get_rng_state()})
        self.stream.acknowledge()

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            CheckpointError: it is garbage, or of another network.
        """
        state = checkpoint.load(path)
        if state is None:
            return
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state["parts"][name])
            for name in _OWN:
                setattr(self, name, state["own"][name])
            torch.set_rng_state(state["torch"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(path, f"it is of another training: {error}") from error

    def _parts(self) -> dict[str, Any]:
        names = ("network", "optimizer", "stream", "pairing", "buffer", "publisher")
        return {name: getattr(self, name) for name in names}


def schedule(progress: float, warm_up: float = 0.1) -> float:
    """Return the fraction of the highest learning rate: a short rise, then half a cosine down to zero."""
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def gradient_step(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, training: Training
) -> float:
    """Make one step down the mean square error, relative to the target's; return the relative L2 error."""
    network.train()
    loss = square_error(network, batch, training).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return math.sqrt(loss.item()) if loss.item() >= 0 else loss.item()


def judge(network: torch.nn.Module, batch: Batch, training: Training) -> float:
    """Return the mean relative L2 error."""
    network.eval()
    with torch.no_grad():
        return float(square_error(network, batch, training).sqrt().mean())


def square_error(network: torch.nn.Module, batch: Batch, training: Training) -> torch.Tensor:
    """Return each sample's squared L2 error relative to its target's squared norm: (batch,)."""
    target = batch[training.target + NEXT]
    error: torch.Tensor = network(*(batch[name] for name in training.inputs)) - target
    return error.flatten(1).square().sum(1) / target.flatten(1).square().sum(1)


def record(
    history: History, state: TrainingState, training: Training, validation: float, version: int | None
) -> None:
    """Append one line to the history: what was reached when, and what was posted; its specimens beside it."""
    line = {
        "unix_time": time.time(),
        "seconds": state.elapsed(),
        "step": state.step,
        "samples": len(state.buffer),
        "unseen": state.buffer.unseen,
        "snapshots": state.stream.cursor,
        "announced": state.stream.announced,
        "missed": state.stream.missed,
        "batch_size": training.batch_size,
        **buffer_facts(state.buffer),
        "loss": state.loss,
        "validation": validation,
        "version": version,
    }
    history.append(line)
    if version is not None:
        units = state.stream.units(training.target)
        what = (training.inputs, training.target, units)
        keep_specimen(history.directory, version, state.network, batch_of(state.judges), *what)
    posted = f"  posted as version {version}" if version else ""
    done = f"{100 * min(1.0, state.progress(training)):3.0f} %  step {state.step:5d}"
    print(f"{done}  loss {state.loss:.4f}  validation {validation:.4f}{posted}", flush=True)
