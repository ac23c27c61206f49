"""The loop on snapshots in memory: it learns, posts, refuses, and goes on after a stop."""

from __future__ import annotations

import copy
import dataclasses
import signal
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim_clients import Bound, MemoryClient, MemoryDatabase, NameRefused, keys
from sim_clients.memory_models import MemoryModels
from sim_clients.models import backend_of
from sim_clients.registry import ReportedError
from tests.steps import missing
from tests.unit.trainers.test_publish import FirstRowScripted, load_torchscript
from trainers import (
    CheckpointError,
    DeepEnsemble,
    ExportMismatch,
    Fifo,
    Firo,
    Format,
    McDropout,
    NonFiniteField,
    NonFiniteLoss,
    NoSamples,
    Pairs,
    Publisher,
    Reservoir,
    RuleFailed,
    StreamStalled,
    TrainingRefused,
    TrainingStopped,
    checkpoint,
    export,
)
from trainers.gate import Canary, Gate
from trainers.history import HISTORY, read_events, read_history
from trainers.losses import Loss, mean_square, relative_square
from trainers.networks import Mlp
from trainers.onnx_file import missing_packages
from trainers.publish import Terms
from trainers.samples import Sample
from trainers.train import CHECKPOINT, Training, gradient_step, schedule, train
from trainers.uncertainty import Dropout, Learning
from trainers.until import Budget, Reached

TRAINING = Training(
    model="line",
    producers=("a",),
    held_out=("b",),
    inputs=("x",),
    target="y",
    jump=0,
    steps=60,
    seconds=1e6,
    judges=4,
    validate_every=10,
    learning_rate=2e-2,
    checkpoint_every=25,
)

IN_STEP = dataclasses.replace(TRAINING, prefetch=0)
"""Each batch is made when its step is due: the steps depend on no thread."""

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


@pytest.fixture
def database() -> MemoryDatabase:
    database = MemoryDatabase(load=load_torchscript)
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        client = MemoryClient(database, name)
        for step in range(20):
            x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 0.5 * x + 2})
        client.end_stream()
    client.subscribe("examiner")  # keeps them, whatever a training acknowledges
    return database


def reservoir(seed: int = 0) -> Reservoir:
    return Reservoir(100, watermark=8, seed=seed)


def network() -> Mlp:
    torch.manual_seed(0)
    return Mlp(1, 1, width=8)


def test_it_learns_and_posts_each_better_network(database: MemoryDatabase, tmp_path: Path) -> None:
    client = MemoryClient(database, "trainer")
    learned = network()
    publisher = train(learned, client, TRAINING, reservoir(), tmp_path)
    lines = read_history(tmp_path)
    assert [line["step"] for line in lines] == [10, 20, 30, 40, 50, 60]
    posted = [line for line in lines if line["version"]]
    assert [line["version"] for line in posted] == list(range(1, len(posted) + 1))
    assert all(b["validation"] < a["validation"] for a, b in pairwise(posted))
    assert not learned.training
    assert publisher.version == client.model_version("line") == len(posted)
    assert publisher.best_loss == posted[-1]["validation"] < 0.2
    x = np.array([[0.3]], np.float32)
    assert abs(client.infer("line", x)[0, 0] - 2.15) < 0.8


class Solved(MemoryClient):
    """Solvers report good errors of each version, but none before the trainer has left the stream."""

    left = False
    killed = False

    def unsubscribe(self, consumer: str, stream: str = keys.DEFAULT_STREAM) -> None:
        super().unsubscribe(consumer, stream)
        if self.killed:
            raise KeyboardInterrupt
        self.left = True

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        return [ReportedError(0.1, "solver", 0)] if self.left else []


@pytest.mark.parametrize("killed", [False, True])
def test_a_last_network_that_a_trial_put_off_is_posted_after_it(
    database: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setattr("trainers.publish.LOOK_EVERY_S", 0.0)
    client, last = Solved(database), network()
    terms = Terms(gate=Gate(), canary=Canary(reports=1, seconds=600))
    training = dataclasses.replace(TRAINING, terms=terms)
    if killed:
        client.killed = True
        with pytest.raises(KeyboardInterrupt):
            train(last, client, training, reservoir(), tmp_path)
        assert client.model_version("line") == 2
        client.killed = False
        last = network()
    publisher = train(last, client, training, reservoir(), tmp_path)
    posted = [line for line in read_history(tmp_path) if line["version"]]
    assert [(line["step"], line["version"]) for line in posted] == [(10, 1), (20, 2), (60, 3)]
    assert posted[-1]["validation"] == publisher.best_loss
    assert client.model_version("line") == publisher.version == 3
    assert publisher.trial is None and not publisher.put_off
    x = np.array([[0.3]], np.float32)
    np.testing.assert_allclose(client.infer("line", x), last(torch.from_numpy(x)).detach(), rtol=1e-5)


def test_it_never_learns_from_held_out_members(database: MemoryDatabase, tmp_path: Path) -> None:
    buffer = reservoir()
    train(network(), MemoryClient(database), TRAINING, buffer, tmp_path)
    held_out = {database.tensors[f"{{b.0.{step}}}.x"].tobytes() for step in range(20)}
    learned = {sample["x"].tobytes() for sample in buffer.state_dict()["samples"]}
    assert len(learned) == 20
    assert not learned & held_out


def test_stopped_and_resumed_it_ends_as_if_it_had_run_through(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    through = network()
    train(through, MemoryClient(database), IN_STEP, reservoir(), tmp_path / "whole")

    class Killed(MemoryClient):
        def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
            if version == 3:
                raise KeyboardInterrupt
            super().put_model(name, model, version, **options)

    database.models = MemoryModels()
    with pytest.raises(KeyboardInterrupt):
        train(network(), Killed(database), IN_STEP, reservoir(), tmp_path / "parts")
    database.models = MemoryModels()
    resumed = network()
    train(resumed, MemoryClient(database), IN_STEP, reservoir(seed=7), tmp_path / "parts")
    for ours, theirs in zip(resumed.parameters(), through.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)  # the first learning rate depends on the clock a little
    ends = [read_history(tmp_path / part)[-1]["validation"] for part in ("parts", "whole")]
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)


def test_a_checkpoint_is_written_in_time_also_when_nothing_is_posted(
    database: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Mlp):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if (tmp_path / HISTORY).exists() and len(read_history(tmp_path)) == 5:  # that is step 50
                raise KeyboardInterrupt
            return super().forward(x)

    class NothingIsBetter(Publisher):
        def offer(self, *offered: Any, **more: Any) -> int | None:
            return None

    monkeypatch.setattr("trainers.train.Publisher", NothingIsBetter)
    training = dataclasses.replace(TRAINING, checkpoint_every=20)
    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(1, 1), MemoryClient(database), training, reservoir(), tmp_path)
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None
    assert state["own"]["step"] == 40


FINISHED = [
    ({}, {}, "its 60 steps are used up; with more of them"),
    ({"seconds": 1e-6}, {"steps": 10**6}, "its 1e-06 seconds are used up; with more of them"),
    ({"converged": 1e3}, {}, "1000 was asked for; under other rules"),
    ({"steps": 10**6, "end_with_producers": True}, {}, "all that came was learned from; a new one begins"),
]


@pytest.mark.parametrize(("limits", "then", "said"), FINISHED)
def test_a_finished_training_is_not_repeated_and_says_how_to_go_on(
    database: MemoryDatabase,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limits: dict[str, Any],
    then: dict[str, Any],
    said: str,
) -> None:
    training = dataclasses.replace(TRAINING, **limits)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    lines = len(read_history(tmp_path))
    capsys.readouterr()
    training = dataclasses.replace(training, **then)
    publisher = train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert len(read_history(tmp_path)) == lines
    assert publisher.version == MemoryClient(database).model_version("line")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("the training is finished: ") and said in line
    assert str(tmp_path / CHECKPOINT) in line


@pytest.mark.parametrize(
    ("limits", "then"),
    [
        ({}, {"steps": 90}),
        ({"steps": 90, "seconds": 1e-6}, {"seconds": 1e6}),
        ({"steps": 90, "until": (Budget(steps=50),)}, {"until": ()}),
    ],
)
def test_a_finished_training_goes_on_where_its_limits_are_raised(
    database: MemoryDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, Any],
    then: dict[str, Any],
) -> None:
    training = dataclasses.replace(IN_STEP, **limits)
    first = network()
    train(first, MemoryClient(database), training, reservoir(), tmp_path)
    before = read_history(tmp_path)
    assert before[-1]["step"] < 90
    progress: list[float] = []

    def noted(reached: float) -> float:
        progress.append(reached)
        return schedule(reached)

    monkeypatch.setattr("trainers.train.schedule", noted)
    training = dataclasses.replace(training, **then)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    after = read_history(tmp_path)
    assert after[: len(before)] == before
    assert after[-1]["step"] == 90
    assert len(progress) == 90 - before[-1]["step"]
    assert progress[0] == pytest.approx(before[-1]["step"] / 90), "the learning rate is of the new length"
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None and state["own"]["over"]


def test_a_training_that_was_never_judged_goes_on_where_its_limits_are_raised(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    class Telling(MemoryClient):
        def acknowledge(self, *given: Any, **more: Any) -> None:
            super().acknowledge(*given, **more)
            signal.raise_signal(signal.SIGTERM)

    training = dataclasses.replace(IN_STEP, validate_every=1000, checkpoint_every=5, converged=1e-9)
    with pytest.raises(TrainingStopped, match="after step 5"):
        train(network(), Telling(database), training, reservoir(), tmp_path)
    short = dataclasses.replace(training, steps=5)
    train(network(), MemoryClient(database), short, reservoir(), tmp_path)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert [line["step"] for line in read_history(tmp_path)] == [60]


def test_a_diverged_training_says_so(database: MemoryDatabase, tmp_path: Path) -> None:
    broken = network()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="nan at training step 1"):
        train(broken, MemoryClient(database), TRAINING, reservoir(), tmp_path)
    assert not database.models.live


@pytest.mark.parametrize(
    "loss", [relative_square, lambda answer, target: (answer - target).square().mean((1, 2))]
)
def test_an_answer_of_another_shape_than_its_target_is_refused_at_the_first_batch(
    loss: Loss, database: MemoryDatabase, tmp_path: Path
) -> None:
    client = MemoryClient(database, "trainer")
    with pytest.raises(TrainingRefused, match=r"answer's shape is \(16, 1, 1\).*target, \(16, 4, 1\)"):
        train(FirstRow(), client, TRAINING, reservoir(), tmp_path, loss=loss)
    assert not (tmp_path / HISTORY).exists() and not (tmp_path / CHECKPOINT).exists()


class FirstRow(torch.nn.Module):
    """Answers one row, (batch, 1, 1), where there are several."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x[:, :1])


def test_too_few_samples_are_counted(database: MemoryDatabase, tmp_path: Path) -> None:
    with pytest.raises(NoSamples, match="20 samples to learn from, 99"):
        buffer = Reservoir(100, watermark=99, seed=0)
        train(network(), MemoryClient(database), TRAINING, buffer, tmp_path)
    with pytest.raises(NoSamples, match="20 held-out ones to judge by, 99"):
        training = dataclasses.replace(TRAINING, judges=99)
        train(network(), MemoryClient(database), training, reservoir(), tmp_path)


def test_a_checkpoint_of_another_network_is_refused(database: MemoryDatabase, tmp_path: Path) -> None:
    train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    with pytest.raises(CheckpointError, match=f"{tmp_path / CHECKPOINT}.*another training"):
        train(Mlp(1, 1, width=9), MemoryClient(database), TRAINING, reservoir(), tmp_path)


def test_time_ends_a_training_too(database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, steps=10**9, seconds=0.5)
    publisher = train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert publisher.version >= 1


def test_the_last_network_is_judged_however_short_the_time(database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, steps=10**9, seconds=1e-6, validate_every=10**9)
    publisher = train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert publisher.version == 1
    assert [line["step"] for line in read_history(tmp_path)] == [1]


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    rates = [schedule(i / 100) for i in range(101)]
    assert max(rates) == schedule(0.1) == pytest.approx(1)
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0)
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("steps", 0), ("steps", -5), ("seconds", 0.0), ("seconds", float("nan")), ("judges", 0)],
)
def test_a_training_without_sense_is_refused_by_the_name_of_the_setting(setting: str, value: float) -> None:
    with pytest.raises(TrainingRefused, match=f"{setting} is {value!r}, and must be greater than 0"):
        dataclasses.replace(TRAINING, **{setting: value})


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("batch_size", 1.5, "a whole number"),
        ("batch_size", True, "a whole number"),
        ("jump", -1, "at least 0"),
        ("jump", 1.5, "a whole number"),
        ("seconds", "60", "a number"),
        ("producers", "a", "a tuple"),
        ("inputs", ["x"], "a tuple"),
        ("until", 3, "a tuple"),
        ("until", (3,), "rules"),
        ("terms", 3, "Terms"),
    ],
)
def test_a_setting_of_a_wrong_kind_is_refused_by_its_name(setting: str, value: Any, said: str) -> None:
    with pytest.raises(TrainingRefused, match=f"the training's {setting} is .*{said}"):
        dataclasses.replace(TRAINING, **{setting: value})


@pytest.mark.parametrize("setting", ["model", "producers", "held_out", "inputs", "target"])
def test_names_that_cannot_be_are_refused_before_the_training(setting: str) -> None:
    value: Any = "my name" if setting in ("model", "target") else ("my name",)
    with pytest.raises(NameRefused, match="'my name' cannot name a"):
        dataclasses.replace(TRAINING, **{setting: value})


@pytest.mark.parametrize("refused", [torch.nn.Identity(), Mlp(1, 1, width=4).requires_grad_(False)])
def test_a_network_that_has_nothing_to_learn_is_refused(
    refused: torch.nn.Module, database: MemoryDatabase, tmp_path: Path
) -> None:
    with pytest.raises(TrainingRefused, match=r"network is '(Identity|Mlp)', and must be .*parameters"):
        train(refused, MemoryClient(database, "trainer"), TRAINING, reservoir(), tmp_path)


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_a_field_of_another_dtype_than_the_network_is_named(dtype: str, tmp_path: Path) -> None:
    database = MemoryDatabase(load=load_torchscript)
    for name in ("a", "b"):
        client = MemoryClient(database, name)
        for step in range(10):
            client.put_snapshot(step, {"x": np.ones((4, 1), dtype), "y": np.ones((4, 1), np.float32)})
        client.end_stream()
    with pytest.raises(
        TrainingRefused, match=f"field 'x' is '{dtype}', .*float32, which the network's parameters"
    ):
        train(network(), MemoryClient(database, "trainer"), TRAINING, reservoir(), tmp_path)


def test_one_who_is_held_out_is_not_learned_from() -> None:
    with pytest.raises(TrainingRefused, match=r"held_out.*without 'a', whom it is to learn from"):
        dataclasses.replace(TRAINING, held_out=("b", "a"))


def test_nothing_is_learned_from_who_was_not_named(database: MemoryDatabase, tmp_path: Path) -> None:
    stranger = MemoryClient(database, "test_0")
    for step in range(20):
        stranger.put_snapshot(step, {"x": np.zeros((4, 1), np.float32), "y": np.full((4, 1), 7, np.float32)})
    seen: set[float] = set()

    def noted(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.update(target.flatten().tolist())
        return mean_square(answer, target)

    with pytest.warns(RuntimeWarning) as told:
        train(network(), MemoryClient(database, "trainer"), TRAINING, reservoir(), tmp_path, loss=noted)
    assert seen and 7 not in seen
    assert [str(each.message) for each in told if each.category is RuntimeWarning] == [
        "snapshots of 'test_0' are not learned from: the training names a, b"
    ]


def test_a_producer_of_whom_nothing_came_is_told(database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, producers=("a", "c_d"))
    with pytest.warns(RuntimeWarning, match="nothing came from c_d; are the names"):
        train(network(), MemoryClient(database, "trainer"), training, reservoir(), tmp_path)


def test_judges_whose_name_is_written_otherwise_are_told(database: MemoryDatabase, tmp_path: Path) -> None:
    training, client = dataclasses.replace(TRAINING, held_out=("B",)), MemoryClient(database, "B")
    client.end_stream()
    said = "Nothing came from B. Nobody has named b, whose snapshots came."
    with pytest.warns(RuntimeWarning, match="'b'"), pytest.raises(NoSamples, match=said):
        train(network(), client, training, reservoir(), tmp_path)


class Even(torch.nn.Module):
    """Takes an even number of samples only."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[0] % 2 == 0
        answer: torch.Tensor = self.inner(x)
        return answer


def test_a_network_is_asked_for_as_many_samples_as_it_takes(database: MemoryDatabase, tmp_path: Path) -> None:
    train(Even(), MemoryClient(database, "trainer"), TRAINING, reservoir(), tmp_path)
    assert read_history(tmp_path)[-1]["step"] == TRAINING.steps
    assert list((tmp_path / "specimens").glob("*.npz"))


def test_time_that_is_over_is_told_from_a_stream_that_has_ended(tmp_path: Path) -> None:
    database = MemoryDatabase(load=load_torchscript)
    put_lines(database, count=100)
    training = dataclasses.replace(TRAINING, held_out=("B",), steps=3, batch_size=4, timeout_s=5.0)
    full = Reservoir(8, watermark=4, seed=0)
    said = "the training has ended with .* and 0 held-out ones .* Nothing came from B"
    with pytest.raises(NoSamples, match=said):
        train(network(), MemoryClient(database, "t"), training, full, tmp_path)


def test_a_training_without_judges_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="held_out"):
        dataclasses.replace(TRAINING, held_out=())


@pytest.mark.parametrize("name", ["flag.stop", "snapshots", "my model"])
def test_a_name_under_which_nothing_can_be_posted_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match=f"'{name}' cannot name a model"):
        dataclasses.replace(TRAINING, model=name)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_an_improvement_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(TrainingRefused, match="improvement"):
        dataclasses.replace(TRAINING, improvement=wrong)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_convergence_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(TrainingRefused, match="converged"):
        dataclasses.replace(TRAINING, converged=wrong)


def test_it_ends_when_it_has_converged_and_is_not_repeated(database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, steps=10_000, converged=0.3)
    for _ in range(2):
        train(network(), MemoryClient(database), training, reservoir(), tmp_path)
        *earlier, last = read_history(tmp_path)
        assert last["validation"] <= 0.3 < min(line["validation"] for line in earlier)
        assert last["step"] < 10_000


def test_it_ends_with_its_producers(database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(IN_STEP, steps=10_000, end_with_producers=True)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    last = read_history(tmp_path)[-1]
    assert last["step"] == 12  # the ten after which it looks, and the 20 samples in batches of 16
    assert last["snapshots"] == 40 and last["samples"] == last["unseen"] == 0


def test_told_to_end_it_writes_its_checkpoint_and_goes_on_later(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    class Telling(MemoryClient):
        def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
            super().put_model(name, model, version, **options)
            if version == 2:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(TrainingStopped, match=r"after step 20; .*checkpoint\.pt goes on") as caught:
        train(network(), Telling(database), TRAINING, reservoir(), tmp_path)
    assert caught.value.step == 20
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    assert read_history(tmp_path)[-1]["step"] == 60


def test_told_to_end_while_it_waits_it_ends_at_once(tmp_path: Path) -> None:
    class Telling(MemoryClient):
        def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
            signal.raise_signal(signal.SIGTERM)
            return super().announced(stream)

    with pytest.raises(TrainingStopped, match="after step 0"):
        train(network(), Telling(MemoryDatabase()), TRAINING, reservoir(), tmp_path)


def test_a_database_that_came_back_without_its_models_gets_the_last_one(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    last = train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path).version
    database.models = MemoryModels()
    train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    client = MemoryClient(database)
    assert client.model_version("line") == last + 1
    x = np.array([[0.3]], np.float32)
    assert abs(client.infer("line", x)[0, 0] - 2.15) < 0.8


def stream_of(count: int, bound: Bound) -> tuple[MemoryDatabase, threading.Thread]:
    """Return a database, and a thread that puts so many snapshots of each producer into a bounded one."""
    database = MemoryDatabase(load=load_torchscript)
    clients = [MemoryClient(database, name) for name in ("a", "b")]
    clients[0].bound_stream(bound)

    def run() -> None:
        for step in range(count):
            for client in clients:
                x = np.full((4, 1), step / count, np.float32)
                client.put_snapshot(step, {"x": x, "y": 0.5 * x + 2})
        for client in clients:
            client.end_stream()

    return database, threading.Thread(target=run, daemon=True)


def test_a_stream_far_smaller_than_the_warm_up_is_drained_by_early_checkpoints(tmp_path: Path) -> None:
    database, solvers = stream_of(40, Bound(items=3, wait_s=30))
    solvers.start()
    training = dataclasses.replace(TRAINING, steps=1000, end_with_producers=True)
    train(network(), MemoryClient(database, "trainer"), training, reservoir(), tmp_path)
    solvers.join(30)
    assert not solvers.is_alive()
    fill = MemoryClient(database).fill()
    assert (fill.announced, fill.items, fill.dropped, fill.skipped) == (80, 0, 0, 0)
    assert fill.consumers == {}


def test_what_was_taken_in_is_acknowledged_with_a_checkpoint_and_not_before(tmp_path: Path) -> None:
    database, solvers = stream_of(6, Bound(items=100))
    solvers.start()
    solvers.join(30)

    class Killed(MemoryClient):
        def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
            raise KeyboardInterrupt

    training = dataclasses.replace(TRAINING, judges=2)
    buffer = Reservoir(100, watermark=4, seed=0)
    with pytest.raises(KeyboardInterrupt):
        train(network(), Killed(database), training, buffer, tmp_path)
    assert len(buffer) >= 4 and not (tmp_path / CHECKPOINT).exists()
    reader = MemoryClient(database)
    assert reader.fill().consumers == {"line": 0}
    again = Reservoir(100, watermark=4, seed=0)
    train(network(), MemoryClient(database), training, again, tmp_path)
    assert len(again) == 6
    assert reader.fill().consumers == {} and reader.fill().items == 0


def put_by_a(database: MemoryDatabase, count: int = 20) -> set[bytes]:
    return {database.tensors[f"{{a.0.{step}}}.x"].tobytes() for step in range(count)}


class Recording:
    """Remembers what is drawn from a buffer, and how much was in it; a kill after so many draws."""

    def __init__(self, buffer: Fifo | Firo | Reservoir | Pairs, draws: int = 10**9) -> None:
        self.drawn: list[bytes] = []
        self.most = 0
        draw, add = buffer.sample, buffer.add

        def sample(count: int) -> list[Sample]:
            batch = draw(count)
            self.drawn += [one["x"].tobytes() for one in batch]
            if len(self.drawn) >= draws:
                raise KeyboardInterrupt
            return batch

        def held(item: Any) -> None:
            add(item)
            self.most = max(self.most, len(buffer))

        buffer.sample, buffer.add = sample, held  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize("kind", [Fifo, Firo])
def test_a_buffer_that_lets_none_be_drawn_twice_ends_the_training_when_it_is_used_up(
    kind: type[Fifo | Firo], database: MemoryDatabase, tmp_path: Path
) -> None:
    buffer = kind(8, watermark=6, seed=0)
    recording = Recording(buffer)
    training = dataclasses.replace(TRAINING, batch_size=5)
    publisher = train(network(), MemoryClient(database), training, buffer, tmp_path)
    put = put_by_a(database)
    assert len(recording.drawn) == len(put) == 20
    assert set(recording.drawn) == put
    assert recording.most <= 8
    last = read_history(tmp_path)[-1]
    assert last["samples"] == 0 and last["snapshots"] == 40
    assert publisher.version == MemoryClient(database).model_version("line")


def test_a_full_buffer_leaves_the_stream_alone_until_it_has_learned(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    buffer = Reservoir(4, seed=0)
    recording = Recording(buffer)
    train(network(), MemoryClient(database), TRAINING, buffer, tmp_path)
    assert recording.most == 4
    put = put_by_a(database)
    assert set(recording.drawn) == put  # 60 batches: each had its turn, though four fit


def test_it_learns_before_its_judges_are_there_where_they_come_behind_a_full_buffer(
    tmp_path: Path, database: MemoryDatabase
) -> None:
    late = MemoryDatabase(load=load_torchscript)
    for name in ("a", "b"):  # the fixture's, one producer after the other
        client = MemoryClient(late, name)
        for step in range(20):
            fields = {field: database.tensors[f"{{{name}.0.{step}}}.{field}"] for field in ("x", "y")}
            client.put_snapshot(step, fields)
        client.end_stream()
    train(network(), MemoryClient(late), TRAINING, Reservoir(3, seed=0), tmp_path)
    assert read_history(tmp_path)[-1]["step"] == 60
    (tmp_path / "fifo").mkdir()
    with pytest.raises(NoSamples, match="judge by, 21"):
        training = dataclasses.replace(TRAINING, judges=21, steps=10)
        train(network(), MemoryClient(late), training, Fifo(3, seed=0), tmp_path / "fifo")


def test_pairs_are_learned_from_as_other_samples(tmp_path: Path) -> None:
    database = MemoryDatabase(load=load_torchscript)
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        client = MemoryClient(database, name)
        x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
        for step in range(30):
            client.put_snapshot(step, {"x": x})
            x = 0.9 * x + np.float32(0.1)
        client.end_stream()
    training = dataclasses.replace(TRAINING, target="x", jump=1)
    buffer = Pairs(["x"], "x", [1], snapshots=20, watermark=8, seed=0)
    put = put_by_a(database, 29)
    recording = Recording(buffer)
    publisher = train(network(), MemoryClient(database), training, buffer, tmp_path)
    assert set(recording.drawn) == put
    assert publisher.version >= 1


@pytest.mark.parametrize("kind", [Fifo, Firo, Reservoir])
def test_resumed_in_the_middle_of_a_drain_it_draws_the_rest(
    kind: type[Fifo | Firo | Reservoir], database: MemoryDatabase, tmp_path: Path
) -> None:
    training = dataclasses.replace(
        IN_STEP, batch_size=5, judges=20, checkpoint_every=1, validate_every=1, end_with_producers=True
    )  # so many judges that all is read before the first step
    buffers = [kind(50, seed=seed) for seed in (1, 2)]
    first, second = (Recording(buffer, most) for buffer, most in zip(buffers, (15, 99), strict=True))
    with pytest.raises(KeyboardInterrupt):
        train(network(), MemoryClient(database), training, buffers[0], tmp_path)
    train(network(), MemoryClient(database), training, buffers[1], tmp_path)
    before, after = first.drawn[:10], second.drawn
    put = put_by_a(database)
    assert set(before) | set(after) == put
    assert len(after) == len(set(after))
    assert buffers[1].exhausted


def far_off(count: int = 20, *, broken: int | None = None) -> MemoryDatabase:
    """Return snapshots of large means and small deviations, of which one may be broken."""
    database = MemoryDatabase(load=load_torchscript)
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        client = MemoryClient(database, name)
        for step in range(count):
            x = generator.normal(0, 1, (4, 1)).astype(np.float32)
            y = 5000 + 50 * x if (name, step) != ("a", broken) else np.full((4, 1), np.nan, np.float32)
            client.put_snapshot(step, {"x": 300 + 10 * x, "y": y.astype(np.float32)})
        client.end_stream()
    client.subscribe("examiner")
    return database


def test_fields_of_1e20_are_learned(tmp_path: Path) -> None:
    database = MemoryDatabase(load=load_torchscript)
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        client = MemoryClient(database, name)
        for step in range(20):
            x = generator.uniform(1e20, 3e20, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 2 * x})
        client.end_stream()
    training = dataclasses.replace(IN_STEP, normalise="frozen")
    publisher = train(network(), client, training, reservoir(), tmp_path)
    assert publisher.best_loss < 0.1
    assert client.infer("line", np.full((1, 1), 2e20, np.float32))[0, 0] == pytest.approx(4e20, rel=0.2)


def test_an_export_that_differs_in_another_row_is_not_posted(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    client = MemoryClient(database)
    with pytest.raises(ExportMismatch, match="exported network's answer"):
        train(FirstRowScripted(), client, TRAINING, reservoir(), tmp_path)
    assert not database.models.live and not client.model_versions("line")


def test_a_network_that_does_not_export_ends_the_training_whose_state_is_kept(
    database: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> bytes:
        raise ExportMismatch(0.5, 1e-4)

    with monkeypatch.context() as patched, pytest.raises(ExportMismatch, match=r"answer is 0\.5 away"):
        patched.setattr("trainers.publish.export", refused)
        train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None and state["own"]["step"] == 10
    train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    assert [line["step"] for line in read_history(tmp_path)] == [20, 30, 40, 50, 60]


@pytest.mark.parametrize("normalise", ["frozen", "running"])
def test_fields_far_from_0_are_learned_where_they_are_normalised(normalise: Any, tmp_path: Path) -> None:
    database = far_off()
    training = dataclasses.replace(TRAINING, normalise=normalise, validate_every=30)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert read_history(tmp_path)[-1]["validation"] < 2e-3  # that of the mean alone is 1e-2
    answer = MemoryClient(database).infer("line", np.array([[310.0]], np.float32))
    assert abs(answer[0, 0] - 5050) < 10  # it takes raw fields and gives raw ones


def test_fields_far_from_0_are_not_learned_as_they_are(tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, validate_every=60)
    train(network(), MemoryClient(far_off()), training, reservoir(), tmp_path)
    assert read_history(tmp_path)[-1]["validation"] > 0.5


def test_moments_are_in_the_checkpoint_and_count_nothing_twice(tmp_path: Path) -> None:
    database = far_off()
    short = dataclasses.replace(TRAINING, steps=20, normalise="running")
    train(network(), MemoryClient(database), short, reservoir(), tmp_path)
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None
    learned = np.concatenate([database.tensors[f"{{a.0.{step}}}.x"] for step in range(20)]).astype(float)
    moments = state["loader"]["intake"]["moments"]["x"]
    assert moments == pytest.approx([80, learned.mean(), ((learned - learned.mean()) ** 2).sum()])
    assert state["parts"]["network"]["means"][0].item() == pytest.approx(learned.mean())
    with pytest.raises(CheckpointError, match="another training"):
        train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)


@pytest.mark.parametrize(("setting", "words"), [("normalise", "no, frozen"), ("non_finite", "refuse, skip")])
def test_a_word_that_is_none_is_refused_with_those_that_are(setting: str, words: str) -> None:
    with pytest.raises(TrainingRefused, match=f"{setting} is 'maybe', and must be one of {words}"):
        dataclasses.replace(TRAINING, **{setting: "maybe"})


@pytest.mark.parametrize("prefetch", [0, 2])
def test_nan_ends_the_training_by_name_or_is_skipped_and_counted(prefetch: int, tmp_path: Path) -> None:
    database = far_off(broken=3)
    training = dataclasses.replace(TRAINING, prefetch=prefetch, steps=20)
    with pytest.raises(NonFiniteField, match=r"field 'y' of the snapshot 'a\.0\.3' has 4 values"):
        train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert not database.models.live
    skipping = dataclasses.replace(training, non_finite="skip")
    buffer = reservoir()
    train(network(), MemoryClient(database), skipping, buffer, tmp_path)
    last = read_history(tmp_path)[-1]
    assert (last["non_finite"], last["missed"], last["samples"]) == (1, 0, 19)


def test_a_loss_of_the_users_is_what_the_steps_minimise(database: MemoryDatabase, tmp_path: Path) -> None:
    seen = []

    def largest(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(answer.shape)
        return (answer - target).abs().flatten(1).amax(1)

    training = dataclasses.replace(TRAINING, validate_every=30)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path, loss=largest)
    assert len(seen) == 60 and set(seen) == {(16, 4, 1)}
    lines = read_history(tmp_path)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["validation"] < 0.3  # judged by the relative L2 error all the same


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_every_checkpoint_has_all_that_was_read_and_not_learned(
    prefetch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that are written because producers wait for one, at whatever moment that is noticed."""
    count = 60
    database, solvers = stream_of(count, Bound(items=12, wait_s=30))
    learned: list[float] = []
    checked: list[int] = []
    write = checkpoint.save

    def noted(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        learned.extend(target[:, 0, 0].tolist())
        return mean_square(answer, target)

    def save(path: Path, state: dict[str, Any]) -> None:
        loader = state["loader"]
        kept = [*loader["intake"]["buffer"]["samples"], *(one for drawn in loader["drawn"] for one in drawn)]
        held = sorted([*learned, *(float(one["y_next"][0, 0]) for one in kept)])
        read = loader["intake"]["stream"]["cursor"]
        expected = [float(np.float32(0.5) * np.float32(step / count) + 2) for step in range(-(-read // 2))]
        assert held == pytest.approx(expected)
        checked.append(read)
        write(path, state)

    monkeypatch.setattr(checkpoint, "save", save)
    solvers.start()
    training = dataclasses.replace(
        TRAINING, batch_size=2, prefetch=prefetch, steps=10**6, validate_every=10**6, checkpoint_every=10**6
    )
    train(network(), MemoryClient(database), training, Fifo(8, seed=0), tmp_path, loss=noted)
    assert len(learned) == count
    assert len(checked) > 3


def test_a_rule_ends_the_training_and_asks_the_solvers_to_stop(
    database: MemoryDatabase, tmp_path: Path
) -> None:
    training = dataclasses.replace(TRAINING, until=(Budget(steps=20),), stop_solvers=True)
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert read_history(tmp_path)[-1]["step"] == 20
    assert MemoryClient(database).stop_requested()
    train(network(), MemoryClient(database), training, reservoir(), tmp_path)  # it is over
    assert read_history(tmp_path)[-1]["step"] == 20


def test_without_being_told_to_it_stops_no_solver(database: MemoryDatabase, tmp_path: Path) -> None:
    seen = []

    def enough(reached: Reached) -> str | None:
        seen.append(reached)
        return "enough" if len(reached.validations) == 2 else None

    train(
        network(),
        MemoryClient(database),
        dataclasses.replace(TRAINING, until=(enough,)),
        reservoir(),
        tmp_path,
    )
    assert not MemoryClient(database).stop_requested()
    every = TRAINING.validate_every
    assert [(each.step, each.samples) for each in seen] == [
        (steps, steps * TRAINING.batch_size) for steps in (every, 2 * every)
    ]


def test_a_better_live_version_is_not_replaced(database: MemoryDatabase, tmp_path: Path) -> None:
    """Somebody else has posted one that the network cannot beat, and its versions carry on after it."""
    perfect = torch.nn.Linear(1, 1)
    judge_client = MemoryClient(database)

    class Refusing(MemoryClient):
        def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
            raise AssertionError("nothing is better")

    judge_client.put_model(TRAINING.model, export(perfect, [torch.ones(1, 1)]), 4)
    terms = Terms(gate=Gate(rule=lambda candidate, live: False))
    publisher = train(
        network(), Refusing(database), dataclasses.replace(TRAINING, terms=terms), reservoir(), tmp_path
    )
    assert publisher.version == 0
    assert publisher.verdict is not None
    assert publisher.verdict.version == 4
    assert all(line["version"] is None for line in read_history(tmp_path))
    refused = read_events(tmp_path)
    assert [(one["event"], one["accepted"], one["version"]) for one in refused] == [("gate", False, None)] * 6
    assert all(one["reason"].endswith("of version 4") and one["candidate"] > 0 for one in refused)


def test_what_is_posted_says_how_long_it_was_trained(database: MemoryDatabase, tmp_path: Path) -> None:
    train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    versions = MemoryClient(database).model_versions(TRAINING.model)
    posted = {line["version"]: line for line in read_history(tmp_path) if line["version"]}
    assert [each.version for each in versions] == list(posted)
    for each in versions:
        line = posted[each.version]
        assert (each.about.steps, each.about.loss) == (line["step"], line["validation"])
        assert each.about.samples == line["step"] * TRAINING.batch_size


class Coupled(MemoryClient):
    """A trainer's client whose second version blows up in a solver at once.

    When the first one is live again the producers end, and so does the training.
    """

    def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
        super().put_model(name, model, version, **options)
        self.report_error(name, float("nan") if version == 2 else 0.5, version)

    def promote(self, name: str, version: int) -> None:
        super().promote(name, version)
        for producer in "ab":
            MemoryClient(self._database, producer).end_stream()


def starved(prefetch: int) -> tuple[MemoryDatabase, Training]:
    """Return 16 samples that are learned from once, and a training that posts two versions from them."""
    database = MemoryDatabase(load=load_torchscript)
    MemoryClient(database).subscribe("examiner")
    put_lines(database, count=16)
    gate = Gate(rule=lambda candidate, live: True)
    terms = Terms(gate=gate, canary=Canary(reports=1, seconds=600))
    changes = {"batch_size": 4, "validate_every": 2, "prefetch": prefetch, "terms": terms}
    return database, dataclasses.replace(TRAINING, timeout_s=20.0, **changes)


def put_lines(database: MemoryDatabase, count: int) -> None:
    generator = np.random.default_rng(0)
    for name in "ab":
        client = MemoryClient(database, name)
        for step in range(count):
            x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 0.5 * x + 2})


@pytest.fixture
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.publish.LOOK_EVERY_S", 0.01)


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("prefetch", [0, 2])
def test_it_goes_back_while_it_waits_for_snapshots(prefetch: int, tmp_path: Path) -> None:
    database, training = starved(prefetch)
    train(network(), Coupled(database, "trainer"), training, Fifo(100, seed=0), tmp_path)
    events = [one for one in read_events(tmp_path) if one["event"] == "rollback"]
    assert [(one["version"], one["from"]) for one in events] == [(1, 2)]
    assert read_history(tmp_path)[-1]["step"] == 4


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("prefetch", [0, 2])
def test_producers_that_are_silent_during_a_trial_are_told_by_name(prefetch: int, tmp_path: Path) -> None:
    database, training = starved(prefetch)
    training = dataclasses.replace(training, timeout_s=0.3)
    with pytest.raises(StreamStalled, match=r"a\.0, b\.0"):
        train(network(), MemoryClient(database), training, Fifo(100, seed=0), tmp_path)


class Diverging(Coupled):
    """A trainer's client: at its first look at version 2 the solver puts NaN, and reports it then."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database, "trainer")
        self.looks = 0
        self.killed = False
        self.live_at_first_read: int | None = None

    def reported_errors(self, name: str, version: int) -> list[ReportedError]:
        if version != 2:
            return super().reported_errors(name, version)
        if self.killed:
            raise KeyboardInterrupt
        self.looks += 1
        if self.looks > 1:
            return super().reported_errors(name, version)
        broken = np.full((4, 1), np.nan, np.float32)
        MemoryClient(self._database, "a").put_snapshot(99, {"x": broken, "y": broken})
        return []

    def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
        if self.live_at_first_read is None and self._database.models.live:
            self.live_at_first_read = self.model_version("line")
        return super().announced(stream)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_what_ends_the_training_is_not_raised_before_it_has_gone_back(
    prefetch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.publish.LOOK_EVERY_S", 600.0)
    database, training = starved(prefetch)
    client = Diverging(database)
    with pytest.raises(NonFiniteField, match=r"a\.0\.99"):
        train(network(), client, training, Fifo(100, seed=0), tmp_path)
    assert client.looks == 2
    assert client.model_version("line") == 1
    assert [(one["version"], one["from"]) for one in read_events(tmp_path) if "from" in one] == [(1, 2)]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_resumed_training_goes_back_before_it_reads_on(prefetch: int, tmp_path: Path) -> None:
    database, training = starved(prefetch)
    killed = Diverging(database)
    killed.killed = True
    with pytest.raises(KeyboardInterrupt):
        train(network(), killed, training, Fifo(100, seed=0), tmp_path)
    assert killed.model_version("line") == 2
    client = Diverging(database)
    client.looks = 1
    train(network(), client, training, Fifo(100, seed=0), tmp_path)
    assert client.live_at_first_read == 1
    assert [(one["version"], one["from"]) for one in read_events(tmp_path) if "from" in one] == [(1, 2)]


@pytest.mark.usefixtures("look_often")
def test_a_version_posted_right_before_a_kill_is_on_trial_in_the_next_life(tmp_path: Path) -> None:
    database, training = starved(0)

    class Killed(Coupled):
        def put_model(self, name: str, model: bytes, version: int, **options: Any) -> None:
            super().put_model(name, model, version, **options)
            if version == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), Killed(database, "trainer"), training, Fifo(100, seed=0), tmp_path)
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None and state["parts"]["publisher"]["version"] == 1
    assert MemoryClient(database).model_version("line") == 2
    client = Coupled(database, "trainer")
    train(network(), client, training, Fifo(100, seed=0), tmp_path)
    rollbacks = [one for one in read_events(tmp_path) if one["event"] == "rollback"]
    assert [(one["version"], one["from"]) for one in rollbacks] == [(1, 2)]


@pytest.mark.parametrize("zero", ["a", "b"])
def test_a_target_that_is_0_everywhere_is_learned_and_judged_by(zero: str, tmp_path: Path) -> None:
    database = MemoryDatabase(load=load_torchscript)
    generator = np.random.default_rng(0)
    for name in "ab":
        client = MemoryClient(database, name)
        for step in range(20):
            x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 0 * x if (name, step) == (zero, 2) else 0.5 * x + 2})
        client.end_stream()
    publisher = train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    assert publisher.version >= 1
    assert all(np.isfinite([line["loss"], line["validation"]]).all() for line in read_history(tmp_path))


def failing(*asked: object) -> Any:
    return 1 / 0


def unusable(*asked: object) -> Any:
    return "much"


WRONG_RULES = {
    "the gate's metric": {"terms": Terms(gate=Gate(metric=unusable))},
    "the gate's rule": {"terms": Terms(gate=Gate(rule=failing))},
    "prune": {"terms": Terms(prune=failing)},
    "until": {"until": (failing,)},
}


@pytest.mark.parametrize("rule", WRONG_RULES)
def test_a_rule_of_the_users_that_fails_is_named_and_nothing_is_lost(
    rule: str, database: MemoryDatabase, tmp_path: Path
) -> None:
    training = dataclasses.replace(TRAINING, checkpoint_every=1000, **WRONG_RULES[rule])
    with pytest.raises(RuleFailed, match=f"^{rule}, a rule that was given") as caught:
        train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert isinstance(caught.value.__cause__, (ZeroDivisionError, ValueError))
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None
    live = max(database.models.live.values(), default=0)
    assert state["parts"]["publisher"]["version"] == live
    lines = read_history(tmp_path) if (tmp_path / HISTORY).exists() else []
    assert [line["version"] for line in lines if line["version"]] == list(range(1, live + 1))
    step = state["own"]["step"]
    train(network(), MemoryClient(database), TRAINING, reservoir(), tmp_path)
    assert read_history(tmp_path)[-1]["step"] == 60 > step


@pytest.mark.usefixtures("look_often")
@pytest.mark.parametrize("every", [1, 1000])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_rule_of_a_trial_that_fails_is_named_and_nothing_is_lost(
    prefetch: int, every: int, tmp_path: Path
) -> None:
    database, training = starved(prefetch)
    terms = Terms(gate=Gate(rule=lambda *both: True), canary=Canary(reports=1, is_worse=failing))
    training = dataclasses.replace(training, terms=terms, checkpoint_every=every, validate_every=1)

    class Reporting(MemoryClient):
        def reported_errors(self, name: str, version: int) -> list[ReportedError]:
            late = len(read_history(tmp_path)) == 4  # 4 steps of 4 samples: all that is there was learned
            return [ReportedError(0.1, "solver", 0)] if late else []

    with pytest.raises(RuleFailed, match=r"^the canary's is_worse"):
        train(network(), Reporting(database, "trainer"), training, Fifo(100, seed=0), tmp_path)
    state = checkpoint.load(tmp_path / CHECKPOINT)
    assert state is not None and state["own"]["step"] == 4


def ensemble() -> torch.nn.Module:
    torch.manual_seed(0)
    return DeepEnsemble([Mlp(1, 1, width=8) for _ in range(3)])


def dropping() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = (torch.nn.Linear(1, 16), torch.nn.ReLU(), Dropout(0.1), torch.nn.Linear(16, 1))
    return McDropout(torch.nn.Sequential(*layers), draws=64)


@pytest.mark.parametrize("normalise", ["no", "running"])
@pytest.mark.parametrize("make", [ensemble, dropping])
def test_a_network_with_a_spread_is_trained_and_posted_as_one_model(
    make: Any, normalise: Any, database: MemoryDatabase, tmp_path: Path
) -> None:
    client = MemoryClient(database, "trainer")
    training = dataclasses.replace(TRAINING, steps=100, normalise=normalise)
    publisher = train(make(), client, training, reservoir(), tmp_path)
    assert publisher.version == client.model_version("line") > 1
    assert publisher.best_loss < 0.2
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    mean, spread = client.infer_outputs("line", x, count=2)
    assert np.abs(mean - (0.5 * x + 2)).max() < 0.5
    assert spread.shape == (5, 1) and (spread > 0).all() and spread.mean() < 0.5
    told = [one["reason"] for one in read_events(tmp_path)]
    assert all("against" in reason and "of version" in reason for reason in told[1:])


def test_each_member_of_an_ensemble_has_a_loss_of_its_own() -> None:
    network, batch = ensemble(), {"x": torch.randn(8, 1), "y_next": torch.randn(8, 1)}
    members = [copy.deepcopy(member) for member in network.members]
    step_once(Learning(network), batch, rate=0.3)
    for member, alone in zip(network.members, members, strict=True):
        step_once(alone, batch, rate=0.1)
        torch.testing.assert_close(member.state_dict(), alone.state_dict())


def step_once(network: torch.nn.Module, batch: dict[str, torch.Tensor], rate: float) -> None:
    gradient_step(network, torch.optim.SGD(network.parameters(), rate), batch, TRAINING, mean_square)


class TwoOutputs(Mlp):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward(x), x


@pytest.mark.parametrize("normalise", ["no", "frozen"])
def test_a_network_with_several_outputs_and_no_spread_is_refused(
    normalise: Any, database: MemoryDatabase, tmp_path: Path
) -> None:
    training = dataclasses.replace(TRAINING, normalise=normalise)
    with pytest.raises(TrainingRefused, match="network is 'TwoOutputs', and must be one with one output"):
        train(TwoOutputs(1, 1), MemoryClient(database), training, reservoir(), tmp_path)


class TwoInputs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Mlp(2, 1, width=8)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(torch.cat([x, y], dim=-1))
        return found


@pytest.mark.parametrize("normalise", ["no", "frozen"])
def test_an_ensemble_of_two_inputs(normalise: Any, database: MemoryDatabase, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, inputs=("x", "y"), normalise=normalise)
    client = MemoryClient(database)
    torch.manual_seed(0)
    train(DeepEnsemble([TwoInputs(), TwoInputs()]), client, training, reservoir(), tmp_path)
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    mean, spread = client.infer_outputs("line", x, 0.5 * x + 2, count=2)
    assert np.abs(mean - (0.5 * x + 2)).max() < 0.5
    assert spread.shape == (5, 1)


def test_a_network_is_posted_in_the_format_that_was_asked_for(tmp_path: Path) -> None:
    if packages := missing_packages():
        missing(f"{', '.join(packages)} is not installed: pip install penstock[onnx]")
    database = MemoryDatabase(load=lambda archive: len)
    MemoryClient(database).subscribe("examiner")
    put_lines(database, count=100)
    client = MemoryClient(database, "trainer")
    training = dataclasses.replace(TRAINING, format=Format.ONNX, terms=Terms(), steps=10)
    train(network(), client, training, reservoir(), tmp_path)
    assert backend_of(client.get_model("line")) == "ONNX"
    assert client.model_versions("line")[-1].about.format == "onnx"


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(TrainingRefused, match=r"format is 'onnx', and must be a trainers\.Format"):
        dataclasses.replace(TRAINING, format="onnx")
