"""The loop: batches come in, gradient steps are made, better networks go out. Read it top to bottom.

A script of an experiment builds the network and calls `train`; everything it needs is an argument. The
batches are made by the loader's thread meanwhile. Killed at any moment and started again with the same
directory, it goes on from its last checkpoint: a snapshot is acknowledged once a checkpoint holds it. A full
stream is answered by an early checkpoint.

Started by torchrun, the same loop runs in several processes. Each has its share of the snapshots; what all
must do alike they agree on before each step (`rounds`), and rank 0 judges, posts and writes the history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from sim_clients import Client, ModelAbout, ModelRejected
from trainers.batches import Batch, batch_of, size_of
from trainers.board import Board
from trainers.buffer import Buffer
from trainers.distributed import ALONE, Ranks, joined
from trainers.errors import (
    CheckpointError,
    NonFiniteLoss,
    RankLost,
    TrainerError,
    TrainingRefused,
    TrainingStopped,
)
from trainers.gate import Gate, HeldOut, better_by, keep_last_and_best
from trainers.history import History, buffer_facts
from trainers.intake import Intake
from trainers.loader import Loader
from trainers.losses import Loss, relative_square
from trainers.normalise import FieldMoments, Normalise, Normalised
from trainers.pairing import Pairing
from trainers.pairs import Pairs
from trainers.publish import Publisher, Terms
from trainers.rounds import Rounds, Word
from trainers.samples import NEXT, Sample
from trainers.share import Share
from trainers.shares import SharedCheckpoint
from trainers.specimen import keep_specimen
from trainers.stopping import asked_to_end
from trainers.stream import NonFinite, SnapshotStream
from trainers.until import Reached, Target, Until, first_reason

CHECKPOINT = "checkpoint.pt"
VERSIONS_KEPT = 10
_POSITIVE = (
    *("steps", "seconds", "judges", "batch_size", "learning_rate"),
    *("validate_every", "checkpoint_every", "timeout_s", "rank_timeout_s"),
)
_OWN = ("step", "seconds", "loss", "over", "validations")


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
        batch_size: samples in a step; of several ranks, of each.
        learning_rate: the highest.
        validate_every, checkpoint_every: in gradient steps.
        improvement: by which fraction a network must be better than the last one posted.
        timeout_s: how long the producers may be silent.
        rank_timeout_s: how long one of several ranks may keep the others waiting, as the first does when it
            judges and posts.
        converged: the training ends when the validation is at most this; by default it goes on.
        until: rules that end it besides (`trainers.until`).
        stop_solvers: when the training ends all programs of the database are asked to (`request_stop`).
        terms: on which a network is posted and keeps its place; by default it must beat the live version on
            the judges by `improvement`, and the newest ten versions and the best one are kept.
        end_with_producers: when all producers have ended and all they put was taken in, the buffer is
            drained, and the training ends when nothing is left; by default it goes on learning from what it
            has, which is nothing where the buffer lets no sample be drawn twice.
        prefetch: batches that are made ahead, beside the step; with 0 each is made when its step is due, so
            that the same stream gives the same steps.
        normalise: whether the network's inputs and answer are normalised, inside of what is posted: "no"; by
            the moments of what had come before the first step, "frozen"; by those of all that has come,
            looked at again at every judgement, "running".
        non_finite: a snapshot that carries NaN or infinity ends the training, "refuse"; or is skipped, and
            counted in the history, "skip".
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
    rank_timeout_s: float = 300.0
    converged: float | None = None
    until: tuple[Until, ...] = ()
    stop_solvers: bool = False
    terms: Terms | None = None
    end_with_producers: bool = False
    prefetch: int = 2
    normalise: Normalise = "no"
    non_finite: NonFinite = "refuse"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise TrainingRefused(name, getattr(self, name), "greater than 0")
        if self.converged is not None and not self.converged > 0:
            raise TrainingRefused("converged", self.converged, "greater than 0, or None")
        if self.prefetch < 0:
            raise TrainingRefused("prefetch", self.prefetch, "at least 0")
        for name, words in (("normalise", Normalise), ("non_finite", NonFinite)):
            if getattr(self, name) not in get_args(words):
                raise TrainingRefused(name, getattr(self, name), f"one of {', '.join(get_args(words))}")
        for name in ("producers", "held_out", "inputs"):
            if not getattr(self, name):
                raise TrainingRefused(name, getattr(self, name), "at least one name")


def train(
    network: torch.nn.Module,
    client: Client,
    training: Training,
    buffer: Buffer[Sample] | Pairs,
    directory: Path,
    *,
    loss: Loss = relative_square,
    ranks: Ranks | None = None,
) -> Publisher:
    """Train a network on a stream of snapshots while it flows.

    Args:
        buffer: what the batches are drawn from; while it is full, no more is taken in.
        directory: for the checkpoint, the history and the specimens; an existing checkpoint is gone on from.
        loss: what the steps minimise, of each sample; judged is by the relative L2 error in any case.
        ranks: who trains it together; by default those that torchrun has started, or this process alone.

    Returns:
        The publisher, which knows the last version and its loss.

    Raises:
        TrainingStopped: this process was told to end (SIGTERM); the checkpoint is written.
        RankLost: another rank has failed.
        TrainerError, ClientError: naming what went wrong.
    """
    with asked_to_end() as asked:
        if ranks is not None:
            return _train(network, client, training, buffer, directory, loss, ranks, asked)
        with joined(training.rank_timeout_s) as ranks:
            return _train(network, client, training, buffer, directory, loss, ranks, asked)


def _train(
    network: torch.nn.Module,
    client: Client,
    training: Training,
    buffer: Buffer[Sample] | Pairs,
    directory: Path,
    loss: Loss,
    ranks: Ranks,
    asked: Callable[[], bool],
) -> Publisher:
    history = History(directory, Board(directory) if training.tensorboard else None)
    device = next(network.parameters()).device
    if training.normalise != "no":
        network = Normalised(network, training.inputs, training.target).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    first, alone = ranks.rank == 0, ranks.world == 1
    share = Share(
        ranks.rank,
        ranks.world,
        training.producers,
        training.held_out,
        together=training.jump > 0 or isinstance(buffer, Pairs),
    )
    intake = Intake(
        SnapshotStream(
            client,
            training.producers + training.held_out,
            timeout_s=training.timeout_s,
            consumer=training.model if first else None,
            non_finite=training.non_finite,
            share=None if alone else share,
        ),
        Pairing(training.inputs, training.target, training.jump),
        buffer,
        training.held_out,
        judges_needed=training.judges if first else 0,
        batch_size=training.batch_size,
        moments=FieldMoments(() if training.normalise == "no" else (*training.inputs, training.target)),
        alone=alone,
    )
    timeout_s = training.timeout_s if alone else math.inf  # of several ranks one may wait longer
    loader = Loader(intake, ahead=training.prefetch, timeout_s=timeout_s, device=device)
    publisher = Publisher(client, training.model, terms=terms_of(training))
    checkpoint = SharedCheckpoint(directory / CHECKPOINT, ranks)
    state = TrainingState(network, optimizer, loader, publisher, checkpoint, ranks.world)
    state.resume(directory / CHECKPOINT, share)
    intake.stream.subscribe()
    if first and publisher.is_lost():
        judges = loader.judges()
        example = [judges[name][:1] for name in training.inputs]
        publisher.post_again(network, example, judge(network, judges, training))

    over = state.over or state.progress(training) >= 1
    replica, rounds = ranks.replicate(network), Rounds(ranks, training.timeout_s, device)
    # From here on the loader reads beside the loop; the client is the loop's within loader.paused().
    with history, loader:
        while not over:
            # 1. The next batch; it is waited for only while there is too little to learn from, and by several
            #    ranks only while all of them wait. What follows they agree on.
            ending = asked() or state.progress(training) >= 1
            batch = None if ending else loader.batch(unless=rounds.until(asked, lambda: loader.waiting))
            told = rounds.agree(state.word(training, batch, asked()), batch)
            intake.stream.lowest = None if alone else told.lowest
            if rounds.stalled:
                raise intake.stream.stalled()
            if first and publisher.trial is not None:
                with loader.paused():
                    publisher.watch()

            # 2. One gradient step, unless time is over or the last sample has been used.
            over = told.progress >= 1 or (told.exhausted and not told.samples)
            stepped = told.samples > 0 and not over
            if stepped:
                if state.step == 0:
                    normalise(network, loader, ranks)
                state.start_clock()
                optimizer.param_groups[0]["lr"] = training.learning_rate * schedule(told.progress)
                mine, weight = rounds.weighed(batch)
                state.loss = gradient_step(replica, optimizer, mine, training, loss, ranks, weight)
                state.step += 1
                if not math.isfinite(state.loss):
                    raise NonFiniteLoss(state.step, state.loss)
                over = told.exhausted or state.step >= training.steps
            elif over and state.step == 0:
                raise intake.too_few()

            # 3. Judge it by members it never learns from, the last one in any case; post it if it is better.
            version = None
            if over or (stepped and state.step % training.validate_every == 0 and told.can_judge):
                if training.end_with_producers:
                    loader.drain_if_ended()
                if training.normalise == "running":
                    normalise(network, loader, ranks)
                version, enough = examine(network, state, training, history, ranks)
                over = over or enough

            # 4. Remember, never between a batch and its step; producers that are out of room get it by that.
            due = stepped and state.step % training.checkpoint_every == 0
            if version is not None or due or told.pressed or told.asked:
                state.save()
            if told.asked and not over:
                raise TrainingStopped(state.step, directory / CHECKPOINT)
        with loader.paused():
            publisher.settle(unless=asked)
        state.over = True
        state.save()
    intake.stream.leave()
    if first and training.stop_solvers:
        client.request_stop()
    return publisher


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
        )

    def save(self) -> None:
        """Write a checkpoint; what it holds need not be kept in the database any more."""
        with self.loader.paused() as intake:
            parts = {name: part.state_dict() for name, part in self._parts().items()}
            own = {name: getattr(self, name) for name in _OWN} | {"seconds": self.elapsed()}
            common = {"parts": parts, "own": own, "torch": torch.get_rng_state()}
            intake.stream.acknowledge(self.checkpoint.save(common, self.loader.state_dict()))
            self.loader.pressed = False

    def resume(self, path: Path, share: Share) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            CheckpointError: it is garbage, or of another network.
        """
        state = self.checkpoint.load(share.owns_trajectory)
        if state is None:
            return
        try:
            self.loader.load_state_dict(state["loader"])
            for name, part in self._parts().items():
                part.load_state_dict(state["parts"][name])
            for name in _OWN:
                setattr(self, name, state["own"][name])
            torch.set_rng_state(state["torch"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(path, f"it is of another training: {error}") from error

    def _parts(self) -> dict[str, Any]:
        names = ("network", "optimizer", "publisher")
        return {name: getattr(self, name) for name in names}


def terms_of(training: Training) -> Terms:
    """Return on which terms a network is posted."""
    if training.terms is not None:
        return training.terms
    gate = Gate(rule=better_by(training.improvement))
    return Terms(gate=gate, prune=keep_last_and_best(VERSIONS_KEPT), improvement=training.improvement)


def held_out(judges: Batch, training: Training) -> HeldOut:
    """Return the judges as the gate takes them."""
    inputs = tuple(judges[name].cpu().numpy() for name in training.inputs)
    return HeldOut(inputs, judges[training.target + NEXT].cpu().numpy())


def schedule(progress: float, warm_up: float = 0.1) -> float:
    """Return the fraction of the highest learning rate: a short rise, then half a cosine down to zero."""
    if progress < warm_up:
        return 0.1 + 0.9 * progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def normalise(network: torch.nn.Module, loader: Loader, ranks: Ranks) -> None:
    """Have a network normalise its fields by the moments of what all ranks have taken in, if it does so."""
    if isinstance(network, Normalised):
        with loader.paused() as intake:
            own = intake.moments.state_dict()
        network.follow(FieldMoments.merged(ranks.gather(own)))


def gradient_step(
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    training: Training,
    loss: Loss = relative_square,
    ranks: Ranks = ALONE,
    weight: float = 1.0,
) -> float:
    """Make one step down the mean loss of a batch; return it, of `relative_square` its root: an L2 error.

    Args:
        weight: of this rank's batch, so that the mean over ranks is that over the samples of all of them.
    """
    network.train()
    mean = loss(*answer_and_target(network, batch, training)).mean() * weight
    optimizer.zero_grad()
    ranks.backward(mean)
    optimizer.step()
    value = sum(one for (one,) in ranks.numbers([mean.item()])) / ranks.world
    return math.sqrt(value) if loss is relative_square and value >= 0 else value


def examine(
    network: torch.nn.Module, state: TrainingState, training: Training, history: History, ranks: Ranks
) -> tuple[int | None, bool]:
    """Have rank 0 judge a network, and post it if it is better.

    Where it cannot be exported or posted, a checkpoint is written before that is raised.

    Returns:
        The version it was posted as, and whether the training is to end; the same for all ranks.
    """
    held = ranks.gather(state.held())
    validation, version, refusal, enough = 0.0, None, None, False
    if ranks.rank == 0:
        judges = state.loader.judges()
        validation = judge(network, judges, training)
        state.validations.append(validation)
        enough = state.reason(training) is not None
        with state.loader.paused():
            try:
                version = state.publisher.offer(
                    network,
                    [judges[name][:1] for name in training.inputs],
                    validation,
                    held_out=held_out(judges, training),
                    about=ModelAbout(steps=state.step, samples=state.samples(training)),
                )
                record(history, state, training, validation, version, held)
            except (TrainerError, ModelRejected) as error:
                refusal = error
    posted = state.publisher.state_dict()
    said = (version, enough, state.validations, posted, refusal and str(refusal))
    version, enough, state.validations, posted, why = ranks.broadcast(said)
    state.publisher.load_state_dict(posted)
    if why is not None:
        state.save()
        raise refusal or RankLost(ranks.rank, ranks.world, "post a network", {0: why})
    return version, enough


def judge(network: torch.nn.Module, batch: Batch, training: Training) -> float:
    """Return the mean relative L2 error."""
    network.eval()
    with torch.no_grad():
        return float(relative_square(*answer_and_target(network, batch, training)).sqrt().mean())


def answer_and_target(
    network: torch.nn.Module, batch: Batch, training: Training
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a network answers to a batch, and what it should: (batch, …) each."""
    return network(*(batch[name] for name in training.inputs)), batch[training.target + NEXT]


def record(
    history: History,
    state: TrainingState,
    training: Training,
    validation: float,
    version: int | None,
    held: list[dict[str, int]],
) -> None:
    """Append one line to the history: what was reached when, and what was posted; its specimens beside it."""
    intake = state.loader.intake
    stream = intake.stream
    line = {
        "unix_time": time.time(),
        "seconds": state.elapsed(),
        "step": state.step,
        **{name: sum(one[name] for one in held) for name in ("samples", "unseen", "non_finite")},
        "snapshots": stream.cursor,
        "announced": stream.announced,
        "missed": stream.missed,
        "batch_size": training.batch_size,
        **buffer_facts(intake.buffer),
        "idle_s": state.loader.idle_s,
        "loss": state.loss,
        "validation": validation,
        "version": version,
        **state.publisher.told(),
    }
    history.append(line)
    if version is not None:
        what = (training.inputs, training.target, stream.units(training.target))
        keep_specimen(history.directory, version, state.network, batch_of(intake.judges), *what)
    posted = f"  posted as version {version}" if version else ""
    done = f"{100 * min(1.0, state.progress(training)):3.0f} %  step {state.step:5d}"
    print(f"{done}  loss {state.loss:.4f}  validation {validation:.4f}{posted}", flush=True)


if __name__ == "__main__":  # torchrun -m trainers.train
    from trainers.command import main

    main()
