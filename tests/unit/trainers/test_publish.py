"""Export and posting: only what answers as trained, only what is better."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sim_clients import MemoryClient, MemoryDatabase, ModelAbout, ModelRejected
from trainers import DeepEnsemble, ExportFailed, ExportMismatch, Publisher, export
from trainers.exporting import check_same
from trainers.gate import Canary, Gate, HeldOut, keep_last_and_best, prune
from trainers.networks import FourierNetwork, Mlp
from trainers.publish import Terms


def load_torchscript(model: bytes) -> Callable[..., np.ndarray | tuple[np.ndarray, ...]]:
    network = torch.jit.load(io.BytesIO(model))

    def run(*inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        answer = network(*map(torch.from_numpy, inputs))
        if isinstance(answer, tuple):
            return tuple(output.detach().numpy() for output in answer)
        return answer.detach().numpy()

    return run


@pytest.fixture
def client() -> MemoryClient:
    return MemoryClient(MemoryDatabase(load=load_torchscript))


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Mlp(2, 3), (5, 2)), (FourierNetwork((3, 1), 12, modes=4, width=4), (2, 3, 12, 12))],
    ids=["mlp", "fourier"],
)
def test_the_archive_answers_as_the_network_at_any_batch_size(
    client: MemoryClient, network: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    archive = export(network, [x[:1]])
    client.put_model("net", archive, 1)
    np.testing.assert_allclose(client.infer("net", x.numpy()), network(x).detach().numpy(), atol=1e-5)


def test_exporting_leaves_the_network_in_training() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).train()
    export(network, [torch.randn(4, 2)])
    assert network.training


def test_an_archive_that_answers_otherwise_is_refused() -> None:
    class Moody(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1.0 if torch.jit.is_scripting() else x

    with pytest.raises(ExportMismatch, match="exported network's answer"):
        export(Moody(), [torch.ones(2, 2)])


class FirstRowScripted(torch.nn.Module):
    """As TorchScript it answers to all rows what it does to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.jit.is_scripting():
            x = x[:1].expand(x.shape)
        return self.linear(x)


class FirstRowTraced(DeepEnsemble):
    """Adds a number of the first row, which its trace has for a constant."""

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, spread = super().forward(*inputs)
        return mean + float(inputs[0][0, 0]), spread


class RowByRow(DeepEnsemble):
    """Runs a loop over the rows, of which its trace has as many as it was traced with."""

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [super(RowByRow, self).forward(row) for row in inputs[0]]
        means, spreads = zip(*rows, strict=True)
        return torch.stack(means), torch.stack(spreads)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    "network",
    [
        FirstRowScripted(),
        FirstRowTraced([Mlp(1, 1), Mlp(1, 1)]),
        RowByRow([Mlp(1, 1), Mlp(1, 1)]),
    ],
)
def test_an_archive_that_differs_in_another_row_is_refused(network: torch.nn.Module) -> None:
    with pytest.raises((ExportMismatch, ExportFailed), match="exported"):
        export(network, [torch.arange(4.0)[:, None]])


def test_a_network_that_needs_several_rows_is_exported() -> None:
    class Differences(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] < 2:
                raise ValueError("two rows are needed")
            return x[1:] - x[:-1]

    assert export(Differences(), [torch.arange(4.0)[:, None]])


def test_inputs_without_rows_are_exported() -> None:
    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return x * scale

    assert export(Plain(), [torch.ones(3), torch.tensor(2.0)])
    assert export(Plain(), [torch.tensor(3.0), torch.tensor(2.0)])


@pytest.mark.parametrize("found", [[1.0, 2.1], [1.0, float("nan")], [1.0], [[1.0, 2.0]]])
def test_another_answer_is_seen(found: list[float]) -> None:
    with pytest.raises(ExportMismatch):
        check_same(torch.tensor(found), torch.tensor([1.0, 2.0]))


def test_only_better_networks_are_posted(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", improvement=0.1)
    network, example = Mlp(1, 1), [torch.ones(1, 1)]
    losses = [1.0, 1.0, 0.95, 0.8, float("nan"), 0.5]
    assert [publisher.offer(network, example, loss) for loss in losses] == [1, None, None, 2, None, 3]
    assert client.model_version("net") == 3
    assert publisher.best_loss == 0.5


def test_losses_below_0_are_compared_by_their_magnitude(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", improvement=0.1)
    network, example = Mlp(1, 1), [torch.ones(1, 1)]
    losses = [-1.0, -1.05, -0.95, -1.2]
    assert [publisher.offer(network, example, loss) for loss in losses] == [1, None, None, 2]


def test_a_resumed_publisher_goes_on_behind_the_live_version(client: MemoryClient) -> None:
    first, network, example = Publisher(client, "net"), Mlp(1, 1), [torch.ones(1, 1)]
    first.offer(network, example, 1.0)
    state = first.state_dict()
    first.offer(network, example, 0.9)  # after the checkpoint, then killed
    second = Publisher(client, "net")
    second.load_state_dict(state)
    assert second.offer(network, example, 1.0) is None
    assert second.offer(network, example, 0.8) == 3


class Factor(torch.nn.Module):
    """Multiplies its input by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


X = np.array([[1.0], [2.0]], np.float32)
HELD_OUT = HeldOut((X,), X)


def offer(publisher: Publisher, factor: float) -> int | None:
    """Offer a network whose relative error is `factor - 1`."""
    return publisher.offer(Factor(factor), [torch.ones(1, 1)], factor - 1, held_out=HELD_OUT)


@pytest.fixture
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.publish.LOOK_EVERY_S", 0.0)


def test_the_gate_judges_by_the_version_that_is_live(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(gate=Gate()))
    network = Factor(1.5).train()
    assert publisher.offer(network, [torch.ones(1, 1)], 0.5, held_out=HELD_OUT) == 1
    assert network.training
    assert [offer(publisher, factor) for factor in (1.495, 1.2, float("nan"))] == [None, 2, None]
    assert publisher.events()[-1]["reason"] == "its own error on the held-out samples is nan"
    assert publisher.verdict is not None
    assert (publisher.verdict.live, publisher.verdict.version) == (pytest.approx(0.2), 2)
    client.promote("net", 1)  # somebody goes back
    assert offer(publisher, 1.3) == 3


def test_what_is_known_is_posted_with_it(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(gate=Gate()))
    offer(publisher, 1.5)
    about = ModelAbout(metrics={"mass": 0.25}, steps=40, samples=640)
    publisher.offer(Factor(1.2), [torch.ones(1, 1)], 0.2, held_out=HELD_OUT, about=about)
    found = client.model_versions("net")[-1].about
    assert (found.loss, found.steps, found.samples, found.parent) == (0.2, 40, 640, 1)
    assert found.format == "torchscript"
    assert found.metrics == {
        "mass": 0.25,
        "gate": pytest.approx(0.2, rel=1e-5),
        "gate_live": pytest.approx(0.5, rel=1e-5),
    }


def test_what_the_gate_found_of_another_network_is_not_posted_with_it(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(gate=Gate()))
    offer(publisher, 1.5)
    publisher.events()
    assert publisher.post_again(Factor(3.0), [torch.ones(1, 1)], 2.0) == 2  # the gate is not asked
    assert client.model_versions("net")[-1].about.metrics == {}
    assert publisher.events() == []


@pytest.mark.usefixtures("look_at_once")
def test_a_version_that_does_worse_in_the_solvers_is_gone_back_from(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(gate=Gate(), canary=Canary(reports=2, seconds=600)))
    offer(publisher, 1.5)
    assert publisher.trial is None  # there is nothing to go back to
    for _ in range(3):
        client.report_error("net", 1.0, 1)
    assert offer(publisher, 1.2) == 2
    assert publisher.watch() is None
    client.report_error("net", 5.0, 2)
    assert offer(publisher, 1.1) is None  # not while another is on trial
    client.report_error("net", 5.0, 2)
    assert publisher.watch() == 2
    assert client.model_version("net") == 1
    assert (publisher.trial, publisher.rolled_back) == (None, [2])
    told = publisher.events()[-1]
    assert (told["event"], told["version"], told["from"]) == ("rollback", 1, 2)
    assert publisher.events() == []
    assert not publisher.is_lost()
    assert offer(publisher, 1.199) is None  # no better than what did not pass
    assert offer(publisher, 1.1) == 3
    assert client.model_version("net") == 3


@pytest.mark.usefixtures("look_at_once")
def test_an_empty_database_gets_a_network_also_after_one_was_gone_back_from(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(canary=Canary(reports=1, seconds=600)))
    offer(publisher, 1.5)
    assert offer(publisher, 1.2) == 2
    client.report_error("net", float("nan"), 2)
    assert publisher.watch() == 2
    resumed = Publisher(MemoryClient(MemoryDatabase(load=load_torchscript)), "net")
    resumed.load_state_dict(publisher.state_dict())
    assert resumed.is_lost()
    about = ModelAbout(steps=40)
    assert resumed.post_again(Factor(1.4), [torch.ones(1, 1)], 0.4, about=about) == 3


@pytest.mark.usefixtures("look_at_once")
def test_nan_ends_a_trial_at_once_and_good_reports_pass_it(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(canary=Canary(reports=2, seconds=600)))
    offer(publisher, 1.5)
    offer(publisher, 1.4)
    client.report_error("net", float("nan"), 2)
    assert publisher.watch() == 2
    assert client.model_version("net") == 1
    assert offer(publisher, 1.3) == 3
    for _ in range(2):
        client.report_error("net", 0.5, 3)
    assert offer(publisher, 1.2) == 4
    assert client.model_version("net") == 4


@pytest.mark.usefixtures("look_at_once")
def test_a_trial_goes_on_after_a_restart_and_ends_where_somebody_else_decides(client: MemoryClient) -> None:
    terms = Terms(canary=Canary(reports=1, seconds=600))
    first = Publisher(client, "net", terms=terms)
    offer(first, 1.5)
    offer(first, 1.4)
    second = Publisher(client, "net", terms=terms)
    second.load_state_dict(first.state_dict())
    client.promote("net", 1)
    assert second.watch() is None
    assert second.trial is None
    third = Publisher(client, "net", terms=terms)
    third.load_state_dict(first.state_dict())
    client.promote("net", 2)
    client.report_error("net", float("inf"), 2)
    assert third.watch() == 2
    assert client.model_version("net") == 1


@pytest.mark.usefixtures("look_at_once")
@pytest.mark.parametrize(("removed", "live"), [([2], 1), ([1, 2], 3)])
def test_where_the_version_before_was_removed_an_older_one_is_gone_back_to(
    client: MemoryClient, removed: list[int], live: int
) -> None:
    canary = Canary(reports=1, seconds=600)
    publisher = Publisher(client, "net", terms=Terms(canary=canary))
    offer(publisher, 1.5)
    offer(publisher, 1.4)
    client.report_error("net", 0.5, 2)
    assert offer(publisher, 1.3) == 3
    client.end_trial("net", 3)  # as if the database had forgotten it
    for version in removed:
        client.remove_model_version("net", version)
    client.report_error("net", float("nan"), 3)
    assert publisher.watch() == (3 if live == 1 else None)
    assert (client.model_version("net"), publisher.trial) == (live, None)
    told = publisher.events()[-1]
    assert told["version"] == live
    assert told["event"] == ("rollback" if live == 1 else "trial")
    assert publisher.watch() is None
    assert offer(publisher, 1.1) == 4


@pytest.mark.usefixtures("look_at_once")
def test_a_trial_that_the_checkpoint_does_not_know_is_taken_up(client: MemoryClient) -> None:
    terms = Terms(gate=Gate(), canary=Canary(reports=1, seconds=600))
    first = Publisher(client, "net", terms=terms)
    offer(first, 1.5)
    state = first.state_dict()
    offer(first, 1.2)  # then killed
    second = Publisher(client, "net", terms=terms)
    second.load_state_dict(state)
    second.find_trial()
    assert second.trial is not None
    assert (second.trial.version, second.trial.before) == (2, 1)
    assert second.trial.since == pytest.approx(first.trial.since if first.trial else 0, abs=5)
    assert (second.version, second.best_loss) == (first.version, first.best_loss)
    assert second.posted == pytest.approx(first.posted)
    second.find_trial()
    client.report_error("net", float("nan"), 2)
    assert second.watch() == 2
    assert offer(second, 1.199) is None  # no better than what did not pass
    second.find_trial()
    assert second.trial is None


@pytest.mark.usefixtures("look_at_once")
def test_at_the_end_a_trial_is_waited_for(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(canary=Canary(seconds=1e-3)))
    offer(publisher, 1.5)
    offer(publisher, 1.4)
    publisher.settle(unless=lambda: False)
    assert publisher.trial is None
    assert client.model_version("net") == 2


@pytest.mark.usefixtures("look_at_once")
@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_trial_does_not_follow_the_hosts_clock(
    client: MemoryClient, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    now, since_boot = 1.8e9, 1000.0
    monkeypatch.setattr("trainers.publish.time.time", lambda: now)
    monkeypatch.setattr("trainers.publish.time.monotonic", lambda: since_boot)
    publisher = Publisher(client, "net", terms=Terms(canary=Canary(seconds=60)))
    offer(publisher, 1.5)
    offer(publisher, 1.4)
    now += jump_s
    since_boot += 59
    assert publisher.watch() is None and publisher.trial is not None
    publisher.load_state_dict(publisher.state_dict())  # as after every judgement
    since_boot += 2
    assert publisher.watch() is None and publisher.trial is None


def test_while_a_trial_lasts_nobody_removes_the_version_before(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(gate=Gate(), canary=Canary(reports=1, seconds=600)))
    assert [offer(publisher, factor) for factor in (1.5, 1.2)] == [1, 2]
    with pytest.raises(ModelRejected, match="the trial of version 2 would go back to version 1"):
        client.remove_model_version("net", 1)
    assert prune(client, "net", lambda stored: [each.version for each in stored]) == []
    client.report_error("net", 0.1, 2)
    publisher.watch(at_once=True)
    assert publisher.trial is None
    client.remove_model_version("net", 1)


def test_a_trial_that_the_checkpoint_does_not_know_holds_the_version_before(client: MemoryClient) -> None:
    terms = Terms(gate=Gate(), canary=Canary(reports=1, seconds=600))
    first = Publisher(client, "net", terms=terms)
    assert [offer(first, factor) for factor in (1.5, 1.2)] == [1, 2]
    client.end_trial("net", 2)  # as if it had been killed before it said so
    second = Publisher(client, "net", terms=terms)
    second.find_trial()
    assert second.trial is not None
    with pytest.raises(ModelRejected, match="would go back to version 1"):
        client.remove_model_version("net", 1)
    client.report_error("net", float("nan"), 2)
    assert second.watch(at_once=True) == 2
    assert client.model_version("net") == 1
    client.remove_model_version("net", 2)


def test_pruning_leaves_what_a_trial_of_another_trainer_would_go_back_to(client: MemoryClient) -> None:
    for version, factor in enumerate((1.5, 1.4, 1.3), start=1):
        client.put_model("net", export(Factor(factor), [torch.ones(2, 1)]), version)
    client.begin_trial("net", 3, 1, 600.0)
    assert prune(client, "net", lambda stored: [each.version for each in stored]) == []
    client.end_trial("net", 3)
    assert prune(client, "net", lambda stored: [each.version for each in stored]) == [1]


def test_old_versions_are_pruned(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", terms=Terms(prune=keep_last_and_best(2)))
    for factor in (1.5, 1.4, 1.3, 1.2):
        offer(publisher, factor)
    assert [each.version for each in client.model_versions("net") if each.state == "stored"] == [3, 4]


def test_numbers_that_were_used_are_not_used_again(client: MemoryClient) -> None:
    """A trainer that died between a post and its checkpoint, or whose last version was removed."""
    publisher = Publisher(client, "net")
    offer(publisher, 1.5)
    offer(publisher, 1.4)
    client.promote("net", 1)
    client.remove_model_version("net", 2)
    assert offer(Publisher(client, "net"), 1.3) == 3


def test_what_is_posted_has_the_commit_of_the_scripts_repository(
    client: MemoryClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "train.py").touch()
    subprocess.run([*git, "add", "train.py"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
    head = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True).strip()
    monkeypatch.setattr("sys.argv", [str(tmp_path / "train.py")])
    offer(Publisher(client, "net"), 1.5)
    (tmp_path / "train.py").write_text("changed")
    offer(Publisher(client, "net"), 1.1)
    assert [one.about.git_commit for one in client.model_versions("net")] == [head, f"{head}-dirty"]


@pytest.mark.parametrize(("found", "expected"), [(5e-20, 1e-20), (0.0, 9e-17), (1e-3, 0.0)])
def test_answers_of_small_fields_are_compared_too(found: float, expected: float) -> None:
    with pytest.raises(ExportMismatch):
        check_same(torch.tensor([found]), torch.tensor([expected]))
    check_same(torch.tensor([expected]), torch.tensor([expected]))
