"""Several ranks learn as one does: the same curve, each snapshot once, whatever comes where."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim_clients import MemoryClient, MemoryDatabase
from sim_clients.memory_models import MemoryModels
from tests.unit.trainers.rank_threads import on_ranks
from tests.unit.trainers.stranger import putting
from tests.unit.trainers.test_publish import load_torchscript
from trainers import (
    DeepEnsemble,
    Fifo,
    NonFiniteField,
    NoSamples,
    Pairs,
    Reservoir,
    StreamStalled,
    TrainingStopped,
    checkpoint,
)
from trainers.distributed import Ranks
from trainers.gate import Canary, Gate
from trainers.history import History, read_events, read_history
from trainers.losses import relative_square
from trainers.networks import Mlp
from trainers.publish import Terms
from trainers.samples import Sample
from trainers.train import CHECKPOINT, Training, _train
from trainers.until import Budget

TRAINING = Training(
    model="line",
    producers=("a", "c"),
    held_out=("b",),
    inputs=("x",),
    target="y",
    jump=0,
    steps=20,
    seconds=1e6,
    judges=4,
    batch_size=4,
    validate_every=1,
    learning_rate=2e-2,
    checkpoint_every=1000,
    improvement=0.9,
    prefetch=0,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


def put(database: MemoryDatabase, producers: str = "acb", *, count: int = 40, end: bool = True) -> None:
    generator = np.random.default_rng(0)
    clients = {name: MemoryClient(database, name) for name in producers}
    for step in range(count):
        for client in clients.values():
            x = generator.uniform(-1, 1, (4,)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 0.5 * x + 2})
    for client in clients.values() if end else ():
        client.end_stream()


@pytest.fixture
def database() -> MemoryDatabase:
    database = MemoryDatabase(load=load_torchscript)
    MemoryClient(database).subscribe("examiner")  # keeps the snapshots, whatever a training acknowledges
    return database


class Watched(Fifo):
    """A buffer that tells what was drawn from it."""

    def __init__(self, learned: list[Sample], **bounds: int) -> None:
        super().__init__(**bounds, seed=0)
        self._learned = learned

    def _draw(self, count: int) -> list[Sample]:
        drawn = super()._draw(count)
        self._learned += drawn
        return drawn

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "kind": "Fifo"}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict({**state, "kind": type(self).__name__})


def never() -> bool:
    return False


def mlp() -> torch.nn.Module:
    return Mlp(4, 4, width=8)


def trained(
    database: MemoryDatabase,
    directory: Path,
    world: int,
    training: Training,
    buffer: Callable[[], Any],
    asked: Callable[[int], bool] = lambda rank: False,
    make: Callable[[], torch.nn.Module] = mlp,
    connect: Callable[[MemoryDatabase, str], MemoryClient] = MemoryClient,
) -> list[torch.nn.Module]:
    """Train with so many ranks; return the network of each."""
    directory.mkdir(exist_ok=True)
    torch.manual_seed(0)
    untrained = make()

    def run(ranks: Ranks) -> torch.nn.Module:
        network = copy.deepcopy(untrained)
        client = connect(database, f"trainer_{ranks.rank}")
        asks = partial(asked, ranks.rank)
        _train(network, client, training, buffer(), History(directory), relative_square, ranks, asks)
        return network

    return on_ranks(world, run)


def learned_of(learned: list[Sample]) -> Counter[bytes]:
    return Counter(sample["x"].tobytes() for sample in learned)


def all_of(database: MemoryDatabase, producers: str, count: int = 40) -> Counter[bytes]:
    names = [f"{{{name}.0.{step}}}.x" for name in producers for step in range(count)]
    return Counter(database.tensors[name].tobytes() for name in names)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_have_the_curve_of_one_rank_with_the_same_total_batch(
    database: MemoryDatabase, tmp_path: Path, world: int
) -> None:
    put(database)
    curves = []
    for ranks, name in ((1, "one"), (world, "all")):
        training = dataclasses.replace(TRAINING, batch_size=16 // ranks, steps=5)
        trained(database, tmp_path / name, ranks, training, lambda: Fifo(100, seed=0))
        curves.append(read_history(tmp_path / name))
        database.models = MemoryModels()
    assert [line["step"] for line in curves[0]] == [line["step"] for line in curves[1]] == [1, 2, 3, 4, 5]
    for name in ("loss", "validation"):
        ones, alls = ([line[name] for line in curve] for curve in curves)
        np.testing.assert_allclose(alls, ones, rtol=1e-5)
    assert len(set(ones)) == 5


def test_the_last_batches_weigh_as_many_samples_as_they_have(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    put(database, count=5)  # of the ten to learn from, two ranks have five each, and batches of four and one
    curves = []
    for ranks, name in ((1, "one"), (2, "all")):
        training = dataclasses.replace(TRAINING, batch_size=8 // ranks)
        trained(database, tmp_path / name, ranks, training, lambda: Fifo(100, seed=0))
        curves.append([line["loss"] for line in read_history(tmp_path / name)])
        database.models = MemoryModels()
    assert len(curves[0]) == 2
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)


@pytest.mark.parametrize("world", [2, 3])
def test_every_snapshot_is_learned_by_one_rank(database: MemoryDatabase, tmp_path: Path, world: int) -> None:
    put(database)
    learned: list[Sample] = []
    training = dataclasses.replace(TRAINING, steps=10**6, validate_every=10**6)
    networks = trained(database, tmp_path, world, training, lambda: Watched(learned, samples=16))
    assert learned_of(learned) == all_of(database, "ac")
    for network in networks[1:]:
        torch.testing.assert_close(network.state_dict(), networks[0].state_dict())


def test_a_rank_without_any_data_takes_part(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database, "ab")
    training = dataclasses.replace(TRAINING, producers=("a",), jump=1, prefetch=2)
    networks = trained(database, tmp_path, 3, training, lambda: Reservoir(100, watermark=4, seed=0))
    last = read_history(tmp_path)[-1]
    assert last["step"] == 20 and last["samples"] == 39
    for network in networks[1:]:
        torch.testing.assert_close(network.state_dict(), networks[0].state_dict())


def test_pairs_of_a_trajectory_stay_together(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database)
    buffers: list[Pairs] = []

    def pairs() -> Pairs:
        buffers.append(Pairs(["x"], "y", [1, 2], snapshots=100, seed=0))
        return buffers[-1]

    trained(database, tmp_path, 2, TRAINING, pairs)
    assert [len(buffer) for buffer in buffers] == [39 + 38] * 2


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 3), (3, 1), (2, 4), (4, 3)])
def test_ranks_join_and_leave_at_a_checkpoint(
    database: MemoryDatabase, tmp_path: Path, before: int, after: int
) -> None:
    put(database)
    learned: list[Sample] = []
    rounds = Counter[int]()

    def asked(rank: int) -> bool:
        rounds[rank] += 1
        return rank == before - 1 and rounds[rank] >= 10

    training = dataclasses.replace(TRAINING, steps=10**6, validate_every=10**6, batch_size=2)
    with pytest.raises(TrainingStopped, match="after step"):
        trained(database, tmp_path, before, training, lambda: Watched(learned, samples=8), asked)
    first = len(learned)
    assert 0 < first < 80
    trained(database, tmp_path, after, training, lambda: Watched(learned, samples=8))
    assert learned_of(learned) == all_of(database, "ac")
    shares = sorted(path.name for path in tmp_path.glob("checkpoint.pt*"))
    assert len(shares) == after, shares


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 3), (2, 1)])
def test_a_finished_training_of_ranks_goes_on_where_its_limits_are_raised(
    database: MemoryDatabase, tmp_path: Path, before: int, after: int
) -> None:
    put(database)

    def buffer() -> Reservoir:
        return Reservoir(100, watermark=4, seed=0)

    asks_rank_0 = dataclasses.replace(TRAINING, until=(Budget(steps=20),), steps=20)
    trained(database, tmp_path, before, asks_rank_0, buffer)
    for limits in ({}, {"steps": 30}):  # of the second the rule still says that it is over
        trained(database, tmp_path, after, dataclasses.replace(asks_rank_0, **limits), buffer)
        assert read_history(tmp_path)[-1]["step"] == 20
    trained(database, tmp_path, after, dataclasses.replace(TRAINING, steps=30), buffer)
    assert read_history(tmp_path)[-1]["step"] == 30


def test_only_what_all_ranks_have_is_acknowledged(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database, "acb", count=10, end=False)
    MemoryClient(database).subscribe("line")
    MemoryClient(database).unsubscribe("examiner")

    def run(ranks: Ranks) -> None:
        # rank 1 has room for two samples that nobody draws: it stays where it is
        buffer = Fifo(2 if ranks.rank else 100, watermark=2, seed=0)
        training = dataclasses.replace(TRAINING, batch_size=1 if ranks.rank else 100, jump=1)
        asked = iter([False] * 8)
        client = MemoryClient(database, f"trainer_{ranks.rank}")
        loss = relative_square
        _train(Mlp(4, 4), client, training, buffer, History(tmp_path), loss, ranks, lambda: next(asked, True))

    with pytest.raises(TrainingStopped):
        on_ranks(2, run)
    stream = database.stream("snapshots")
    assert 0 < stream.fill().kept_from < 30


def test_an_error_of_one_rank_ends_all_of_them(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database)
    client = MemoryClient(database, "c")
    bad = np.full(4, np.nan, np.float32)
    client.put_snapshot(99, {"x": bad, "y": bad})
    with pytest.raises(NonFiniteField):
        trained(database, tmp_path, 2, TRAINING, lambda: Reservoir(1000, watermark=41, seed=0))


def test_a_stream_with_too_little_for_all_ranks_says_so(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database, "b")
    for name in "ac":
        MemoryClient(database, name).end_stream()
    with pytest.raises(NoSamples, match="0 samples to learn from"):
        trained(database, tmp_path, 2, TRAINING, lambda: Fifo(100, seed=0))


def test_snapshots_of_others_keep_no_ranks_waiting(database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, timeout_s=0.5)
    with (
        putting(database, {"x": np.zeros((4, 1), np.float32), "y": np.zeros((4, 1), np.float32)}),
        pytest.warns(RuntimeWarning, match="snapshots of 'A' are not learned from"),
        pytest.raises(StreamStalled, match="Nobody has named A, whose snapshots came"),
    ):
        trained(database, tmp_path, 2, training, lambda: Fifo(100, seed=0))


def test_ranks_that_all_wait_in_vain_say_for_whom(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database, "ab", end=False, count=1)
    training = dataclasses.replace(TRAINING, timeout_s=0.3)
    with pytest.raises(StreamStalled, match=r"a\.0, c\.0, b\.0"):
        trained(database, tmp_path, 2, training, lambda: Fifo(100, seed=0))


class Coupled(MemoryClient):
    """A trainer's client whose versions are called by a solver at once: the second one blows up there."""

    def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
        super().put_model(name, model, version, **options)
        self.report_error(name, float("nan") if version == 2 else 0.5, version)


ON_TRIAL = dataclasses.replace(
    TRAINING,
    terms=Terms(gate=Gate(rule=lambda candidate, live: True), canary=Canary(reports=1, seconds=600)),
    steps=16,
    validate_every=4,
    batch_size=2,
)


@pytest.fixture
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.publish.LOOK_EVERY_S", 0.0)


def gone_back_from(directory: Path) -> list[int]:
    return [one["from"] for one in read_events(directory) if one["event"] == "rollback"]


@pytest.mark.usefixtures("look_at_once")
@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_go_back_from_a_version_that_blows_up_and_go_on(
    database: MemoryDatabase, tmp_path: Path, world: int, prefetch: int
) -> None:
    put(database)
    training = dataclasses.replace(ON_TRIAL, prefetch=prefetch)
    networks = trained(
        database, tmp_path, world, training, lambda: Reservoir(100, watermark=4, seed=0), connect=Coupled
    )
    assert [line["version"] for line in read_history(tmp_path)] == [1, 2, 3, 4]
    assert gone_back_from(tmp_path) == [2]
    client = MemoryClient(database)
    found = {each.version: each.was_live for each in client.model_versions("line")}
    assert found == {1: True, 2: False, 3: True, 4: True}
    assert [each.about.parent for each in client.model_versions("line")] == [None, 1, 1, 3]
    for network in networks[1:]:
        torch.testing.assert_close(network.state_dict(), networks[0].state_dict())
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None
    assert state["parts"]["publisher"]["rolled_back"] == [2]


@pytest.mark.usefixtures("look_at_once")
@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 1), (1, 2)])
def test_a_trial_goes_on_in_other_ranks(
    database: MemoryDatabase, tmp_path: Path, before: int, after: int
) -> None:
    put(database)

    def asked(rank: int) -> bool:
        return rank == before - 1 and database.models.live.get("line") == 2

    def buffer() -> Reservoir:
        return Reservoir(100, watermark=4, seed=0)

    with pytest.raises(TrainingStopped):
        trained(database, tmp_path, before, ON_TRIAL, buffer, asked)
    assert gone_back_from(tmp_path) == []
    MemoryClient(database, "solver").report_error("line", float("nan"), 2)
    trained(database, tmp_path, after, ON_TRIAL, buffer, connect=Coupled)
    assert gone_back_from(tmp_path) == [2]
    posted = [line["version"] for line in read_history(tmp_path)]
    assert posted[:2] == [1, 2] and posted[-1] == MemoryClient(database).model_version("line") > 2


def test_ranks_train_an_ensemble_as_one_rank_does(database: MemoryDatabase, tmp_path: Path) -> None:
    put(database)
    curves = []
    for ranks in (1, 2):
        training = dataclasses.replace(TRAINING, batch_size=16 // ranks, steps=5, normalise="frozen")
        trained(
            database,
            tmp_path / str(ranks),
            ranks,
            training,
            partial(
                Fifo, 100, watermark=80 // ranks, seed=0
            ),  # all comes before it, so that all normalise alike
            make=lambda: DeepEnsemble([mlp(), mlp()]),
        )
        curves.append(read_history(tmp_path / str(ranks)))
        database.models = MemoryModels()
    for name in ("loss", "validation"):
        ones, alls = ([line[name] for line in curve] for curve in curves)
        np.testing.assert_allclose(alls, ones, rtol=1e-4)
