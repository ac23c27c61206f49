"""A network is judged by samples that it never learns from, posted if it is better, and recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from sim_clients import ClientError, DatabaseUnavailable, ModelAbout
from trainers.answering import predicted
from trainers.batches import Batch
from trainers.distributed import Ranks
from trainers.errors import RankLost, TrainerError
from trainers.exporting import ROWS
from trainers.gate import HeldOut
from trainers.history import History, buffer_facts, read_history
from trainers.losses import relative_square
from trainers.publish import Publisher
from trainers.samples import NEXT
from trainers.settings import Training
from trainers.specimen import keep_specimen
from trainers.state import TrainingState


def examine(
    network: torch.nn.Module, state: TrainingState, training: Training, history: History, ranks: Ranks
) -> tuple[int | None, bool]:
    """Have rank 0 judge a network, and post it if it is better.

    Where it cannot be exported or posted, or a rule of the user's fails, a checkpoint is written before that
    is raised.

    Returns:
        The version it was posted as, and whether the training is to end; the same for all ranks.
    """
    held = ranks.gather(state.held())
    validation, version, refusal, enough = 0.0, None, None, False
    if ranks.rank == 0:
        judges = state.loader.judges()
        validation = judge(network, judges, training)
        state.validations.append(validation)
        before = state.publisher.version
        with state.loader.paused():
            try:
                version = offer(network, state, training, judges, validation, history)
                record(history, state, training, validation, version, held)
                enough = state.reason(training) is not None
            except DatabaseUnavailable:
                raise  # no checkpoint could be acknowledged
            except (TrainerError, ClientError) as error:
                refusal = error
                if version is None and state.publisher.version != before:  # what failed came after the post
                    with suppress(TrainerError):  # a full disk, and `refusal` says so
                        record(history, state, training, validation, state.publisher.version, held)
    posted = state.publisher.state_dict()
    said = (version, enough, state.validations, posted, refusal and str(refusal))
    version, enough, state.validations, posted, why = ranks.broadcast(said)
    state.publisher.load_state_dict(posted)
    if why is not None:
        state.save()
        raise refusal or RankLost(ranks.rank, ranks.world, "post a network", {0: why})
    return version, enough


def offer_last(network: torch.nn.Module, state: TrainingState, training: Training, history: History) -> None:
    """Post the last network if it is better, where it had to wait for the end of a trial.

    Raises:
        ExportMismatch, ModelRejected, DatabaseUnavailable: no other version is live than before.
    """
    if not state.publisher.put_off:
        return
    judges, validation = state.loader.judges(), state.validations[-1]
    version = offer(network, state, training, judges, validation, history)
    if version is not None:
        history.append(read_history(history.directory)[-1] | {"unix_time": time.time(), "version": version})
        print(f"after the trial  validation {validation:.4f}  posted as version {version}", flush=True)
    tell(history, state.publisher)


def offer(
    network: torch.nn.Module,
    state: TrainingState,
    training: Training,
    judges: Batch,
    validation: float,
    history: History,
) -> int | None:
    """Post a network if it is better, and keep what it makes of some held-out samples; return its version."""
    version = state.publisher.offer(
        network,
        example(judges, training),
        validation,
        held_out=held_out(judges, training),
        about=ModelAbout(steps=state.step, samples=state.samples(training)),
    )
    if version is not None:
        units = state.loader.intake.stream.units(training.target)
        inputs = inputs_of(judges, training)
        truth = judges[training.target + NEXT]
        keep_specimen(history.directory, version, network, inputs, training.target, truth, units)
    return version


def judge(network: torch.nn.Module, batch: Batch, training: Training) -> float:
    """Return the mean relative L2 error; of a network with a spread, that of its mean."""
    answer = predicted(network, inputs_of(batch, training))[0]
    return float(relative_square(answer, batch[training.target + NEXT]).sqrt().mean())


@contextmanager
def last_look(publisher: Publisher, history: History, ranks: Ranks) -> Iterator[None]:
    """Where what is within fails, have rank 0 look once more at the version on trial; then that is raised.

    What ends a training is often what a network did to a solver, which has just reported it.
    """
    try:
        yield
    except DatabaseUnavailable:
        raise  # nobody can be asked
    except BaseException:
        if ranks.rank == 0:
            with suppress(TrainerError, ClientError):  # what has failed first is what is to be told
                publisher.watch(at_once=True)
                tell(history, publisher)
        raise


def tell(history: History, publisher: Publisher) -> None:
    """Append what has become of versions: which the gate let pass or not, which were gone back from."""
    for event in publisher.events():
        history.append(event)


def record(
    history: History,
    state: TrainingState,
    training: Training,
    validation: float,
    version: int | None,
    held: list[dict[str, int]],
) -> None:
    """Append one line to the history: what was reached when, and what was posted."""
    stream = state.loader.intake.stream
    line = {
        "unix_time": time.time(),
        "seconds": state.elapsed(),
        "step": state.step,
        **{name: sum(one[name] for one in held) for name in ("samples", "unseen", "non_finite")},
        "snapshots": stream.cursor,
        "announced": stream.announced,
        "missed": stream.missed,
        "batch_size": training.batch_size,
        **buffer_facts(state.loader.intake.buffer),
        "idle_s": state.loader.idle_s,
        "loss": state.loss,
        "validation": validation,
        "version": version,
    }
    history.append(line)
    tell(history, state.publisher)
    posted = f"  posted as version {version}" if version else ""
    done = f"{100 * min(1.0, state.progress(training)):3.0f} %  step {state.step:5d}"
    print(f"{done}  loss {state.loss:.4f}  validation {validation:.4f}{posted}", flush=True)


def inputs_of(batch: Batch, training: Training) -> Batch:
    """Return the inputs of a batch, in the order of the network's arguments."""
    return {name: batch[name] for name in training.inputs}


def example(judges: Batch, training: Training) -> list[torch.Tensor]:
    """Return the inputs of some judges, by which an export is compared with its network."""
    return [field[:ROWS] for field in inputs_of(judges, training).values()]


def held_out(judges: Batch, training: Training) -> HeldOut:
    """Return the judges as the gate takes them."""
    inputs = tuple(field.cpu().numpy() for field in inputs_of(judges, training).values())
    return HeldOut(inputs, judges[training.target + NEXT].cpu().numpy())
