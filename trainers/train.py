"""The loop: batches come in, gradient steps are made, better networks go out. Read it top to bottom.

A script of an experiment builds the network and calls `train`; everything it needs is an argument. The
batches are made by the loader's thread meanwhile. Killed at any moment and started again with the same
directory, it goes on from its last checkpoint: a snapshot is acknowledged once a checkpoint holds it. A full
stream is answered by an early checkpoint. One that has ended goes on too, where it is given more steps.

Started by torchrun, the same loop runs in several processes. Each has its share of the snapshots; what all
must do alike they agree on before each step (`rounds`), and rank 0 judges, posts and writes the history.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from sim_clients import Client, ModelAbout
from trainers.agreement import check_alike, of_buffer, of_loss, of_network, of_training
from trainers.answering import answer_of
from trainers.batches import Batch
from trainers.board import Board
from trainers.buffer import Buffer
from trainers.distributed import ALONE, Ranks, joined
from trainers.errors import NonFiniteLoss, RuleFailed, TrainingStopped
from trainers.history import History
from trainers.intake import Intake
from trainers.judging import examine, example, inputs_of, judge, last_look, offer_last, tell
from trainers.loader import Loader
from trainers.losses import Loss, learning_device, of_samples, relative_square
from trainers.normalise import FieldMoments, Normalised, normalised
from trainers.pairing import Pairing
from trainers.pairs import Pairs
from trainers.publish import Publisher
from trainers.rounds import Rounds
from trainers.samples import NEXT, Sample
from trainers.settings import Training, terms_of
from trainers.share import Share
from trainers.shared_checkpoint import SharedCheckpoint
from trainers.state import TrainingState
from trainers.stopping import asked_to_end
from trainers.stream import SnapshotStream
from trainers.uncertainty import Learning

__all__ = ["CHECKPOINT", "Training", "gradient_step", "judge", "schedule", "train"]

CHECKPOINT = "checkpoint.pt"


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
        The publisher, which knows the last version and its loss; the network is left to be asked (`eval`).

    Raises:
        TrainingStopped: this process was told to end (SIGTERM); the checkpoint is written.
        RanksDiffer: the ranks were started with different settings.
        RankLost: another rank has failed.
        TrainerError, ClientError: naming what went wrong.
    """
    joining = joined(training.rank_timeout_s) if ranks is None else nullcontext(ranks)
    with joining as ranks, asked_to_end() as asked:  # who is told to end while they meet ends at once
        if ranks.world > 1:
            check_alike(
                ranks, of_training(training) | of_buffer(buffer) | of_network(network) | of_loss(loss)
            )
        board = Board(directory) if training.tensorboard and ranks.rank == 0 else None
        with History(directory, board) as history:
            return _train(network, client, training, buffer, history, loss, ranks, asked)


def _train(
    network: torch.nn.Module,
    client: Client,
    training: Training,
    buffer: Buffer[Sample] | Pairs,
    history: History,
    loss: Loss,
    ranks: Ranks,
    asked: Callable[[], bool],
) -> Publisher:
    path, device = history.directory / CHECKPOINT, learning_device(network)
    if training.normalise != "no":
        network = normalised(network, training.inputs, training.target).to(device)
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
    publisher = Publisher(client, training.model, terms=terms_of(training), format=training.format)
    checkpoint = SharedCheckpoint(path, ranks)
    state = TrainingState(network, optimizer, loader, publisher, checkpoint, ranks.world)
    resumed = state.resume(path, share)
    intake.stream.subscribe()
    if first:  # before anything can fail again: what has ended the life before may have been reported since
        publisher.end_swap()
        if resumed:
            publisher.find_trial()
        loader.pressed = publisher.watch(at_once=True) is not None
        tell(history, publisher)
    if first and publisher.is_lost():
        judges = loader.judges()
        about = ModelAbout(steps=state.step, samples=state.samples(training))
        validation = judge(network, judges, training)
        publisher.post_again(network, example(judges, training), validation, about=about)

    finished = state.finished(training, ranks, path)
    if finished is not None and first:
        print(f"the training is finished: {finished}", flush=True)
    over = state.over = finished is not None
    replica, rounds = ranks.replicate(Learning(network)), Rounds(ranks, training.timeout_s, device)

    failed: RuleFailed | None = None

    def wanted() -> bool:
        return asked() or (first and failed is None and publisher.looks_now)

    # From here on the loader reads beside the loop; the client is the loop's within loader.paused().
    with last_look(publisher, history, ranks), loader:
        while not over:
            # 1. The next batch; it is waited for only while there is too little to learn from, and by several
            #    ranks only while all of them wait. What follows they agree on.
            ending = asked() or state.progress(training) >= 1
            batch = None if ending else loader.batch(unless=rounds.until(wanted, lambda: loader.waiting))
            told = rounds.agree(state.word(training, batch, asked()), batch)
            intake.stream.lowest = None if alone else told.lowest
            if rounds.stalled:
                raise intake.stalled()
            if first and publisher.looks_now and failed is None:
                try:
                    with loader.paused():
                        gone_back = publisher.watch() is not None
                except RuleFailed as error:  # it is raised when all ranks have written a checkpoint
                    gone_back, failed = False, error
                if gone_back or failed is not None:  # a checkpoint is to know of it
                    loader.pressed = True
                tell(history, publisher)

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
                with loader.paused():
                    raise intake.too_few(ended=intake.stream.ended())

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
                if failed is not None:  # all ranks are to agree on a checkpoint before it is raised
                    loader.pressed = True
            if failed is not None and told.pressed:
                raise failed
            if told.asked and not over:
                raise TrainingStopped(state.step, path)
        state.over = True
        state.save()
    intake.stream.leave()
    network.eval()
    if first:
        try:  # a trial goes on while nothing is held up
            publisher.settle(unless=asked)
            tell(history, publisher)
            offer_last(network, state, training, history)
            publisher.settle(unless=asked)
            tell(history, publisher)
        finally:
            if training.stop_solvers:
                client.request_stop()
    return publisher


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
        network: with one output, or `Learning` of one with a spread: then the loss is the mean over its
            members, each on its own.
        weight: of this rank's batch, so that the mean over ranks is that over the samples of all of them.
    """
    network.train()
    answer, target = answer_of(network, inputs_of(batch, training)), batch[training.target + NEXT]
    answers = (answer,) if isinstance(answer, torch.Tensor) else answer
    mean = torch.stack([of_samples(loss, each, target) for each in answers]).mean() * weight
    optimizer.zero_grad()
    ranks.backward(mean)
    optimizer.step()
    value = sum(one for (one,) in ranks.numbers([mean.item()])) / ranks.world
    return math.sqrt(value) if loss is relative_square and value >= 0 else value


if __name__ == "__main__":  # torchrun -m trainers.train
    from trainers.command import main

    main()
