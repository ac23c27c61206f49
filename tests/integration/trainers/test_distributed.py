"""torchrun starts ranks that train together, over a real database and gloo on loopback."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import psutil
import pytest

from sim_clients import Address, connect
from tests.integration.servers import Module, RedisServer, ServerConfig, free_port, wait_until, wheel_binary
from tests.integration.trainers import line_network
from tests.integration.trainers.programs import Program, running
from trainers import checkpoint
from trainers.history import HISTORY, read_events, read_history

OPTIONS = {
    "network": "tests.integration.trainers.line_network:line",
    "producers": ("a", "c"),
    "held_out": "b",
    "inputs": "x",
    "target": "y",
    "jump": 0,
    "seconds": 600,
    "judges": 4,
    "improvement": 0.01,
    "watermark": 8,
    "capacity": 100,
}


@pytest.fixture(scope="module")
def server(module: Module) -> Iterator[RedisServer]:
    """One server; what these tests are about does not depend on its version."""
    with (
        tempfile.TemporaryDirectory(prefix="penstock-") as path,
        RedisServer(ServerConfig(wheel_binary(), Path(path), (module,))) as server,
    ):
        put_lines(server)
        yield server


def put_lines(server: RedisServer) -> None:
    generator = np.random.default_rng(0)
    clients = [connect(Address.parse(server.address), producer=name) for name in "acb"]
    clients[0].subscribe("examiner")  # keeps them for all tests
    for step in range(40):
        for client in clients:
            x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 0.5 * x + 2})
    for client in clients:
        client.end_stream()


def options(**changes: object) -> list[str]:
    words = []
    for name, value in (OPTIONS | changes).items():
        words += [f"--{name}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return words


def trained(server: RedisServer, directory: Path, ranks: int, **changes: object) -> Program:
    """Train to the end."""
    with started(server, directory, ranks, **changes) as program:
        assert program.returncode() == 0, program.log()
    return program


def started(
    server: RedisServer, directory: Path, ranks: int, restarts: int = 0, **changes: object
) -> AbstractContextManager[Program]:
    return running(
        Path("-m"),
        "trainers.train",
        *options(model=directory.name, **changes),
        name="trainer",
        directory=directory,
        environment=Address.parse(server.address).environment(),
        ranks=ranks,
        restarts=restarts,
    )


def judgements(directory: Path) -> int:
    return len(read_history(directory)) if (directory / HISTORY).exists() else 0


def rank_process(program: Program, rank: int) -> psutil.Process:
    """Return the process of a rank, which torchrun has started."""
    children = psutil.Process(program.process.pid).children(recursive=True)
    return next(child for child in children if child.environ().get("RANK") == str(rank))


def test_two_ranks_share_a_stream_and_post(server: RedisServer, tmp_path: Path) -> None:
    directory = tmp_path / "two"
    trained(server, directory, 2, steps=40, validate_every=20, batch_size=8)
    lines = read_history(directory)
    assert [line["step"] for line in lines] == [20, 40]
    assert lines[-1]["samples"] == 80
    assert lines[-1]["validation"] < lines[0]["validation"]
    client = connect(Address.parse(server.address))
    assert client.model_version("two") == lines[-1]["version"] == 2
    assert not client.stop_requested()  # nobody has said --stop_solvers
    assert sorted(path.name for path in directory.glob("checkpoint*")) == [
        "checkpoint.pt",
        "checkpoint.pt.1of2.1",
    ]


@pytest.mark.parametrize(("judges", "status"), [(4, 0), (99, 1)])
def test_no_thread_of_gloo_outlives_the_training(
    server: RedisServer, tmp_path: Path, judges: int, status: int
) -> None:
    """One that still holds a tensor while Python ends would abort the process."""
    script = Path(__file__).parent / "ended_trainer.py"
    told = options(model="ended", steps=4, validate_every=2, judges=judges)
    with running(
        script,
        *told,
        name="trainer",
        directory=tmp_path,
        environment=Address.parse(server.address).environment(),
        ranks=2,
    ) as program:
        assert program.returncode() == status, program.log()
    assert "0" not in (before := re.findall(r"threads of gloo before: (\d+)", program.log())) and before
    assert set(re.findall(r"threads of gloo at the end: (\d+)", program.log())) == {"0"}, program.log()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--batch_size", "8", "its batch_size is 8, and rank 0's is 16"),
        ("--network", f"{line_network.__name__}:wide", "its network's layers.0.weight is (9, 1) float32"),
    ],
)
def test_a_rank_with_another_setting_ends_the_training_before_its_first_step(
    server: RedisServer, tmp_path: Path, option: str, value: str, said: str
) -> None:
    with running(
        Path(__file__).parent / "differing_trainer.py",
        *(option, value),
        *options(model="differing", steps=10),
        name="trainer",
        directory=tmp_path / "differing",
        environment=Address.parse(server.address).environment(),
        ranks=2,
    ) as program:
        assert program.returncode() == 1
        assert f"rank 1 of 2 was not started as rank 0 was: {said}" in program.log(), program.log()
    assert sorted(path.name for path in (tmp_path / "differing").iterdir()) == ["log.txt"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("ranks", [1, 2])
def test_an_ensemble_is_posted_with_mean_and_spread(server: RedisServer, tmp_path: Path, ranks: int) -> None:
    directory = tmp_path / f"ensemble_{ranks}"
    network = "tests.integration.trainers.line_network:ensemble"
    told = {"steps": 120, "validate_every": 20, "learning_rate": 0.02, "normalise": "frozen"}
    trained(server, directory, ranks, network=network, **told)
    client = connect(Address.parse(server.address))
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    (mean, spread), version = client.infer_outputs_versioned(directory.name, x, count=2)
    assert version == client.model_version(directory.name) > 1
    assert np.abs(mean - (0.5 * x + 2)).max() < 0.2
    assert spread.shape == (5, 1) and (spread > 0).all()
    gates = [one["reason"] for one in read_events(directory)]
    assert gates[0] == "there was none before it"
    assert all("against" in reason for reason in gates[1:])  # the database answers for the ensemble too
    client.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_and_four_ranks_have_the_curve_of_one(server: RedisServer, tmp_path: Path) -> None:
    curves = {}
    for ranks in (1, 2, 4):
        directory = tmp_path / f"of_{ranks}"
        trained(
            server,
            directory,
            ranks,
            steps=5,
            validate_every=1,
            batch_size=16 // ranks,
            buffer="fifo",
            prefetch=0,
            watermark=80 // ranks,  # all has come before the first step, so that all normalise alike
            normalise="frozen",
        )
        curves[ranks] = read_history(directory)
    for ranks in (2, 4):
        for name in ("loss", "validation"):
            ones, alls = ([line[name] for line in curves[each]] for each in (1, ranks))
            np.testing.assert_allclose(alls, ones, rtol=1e-4, err_msg=f"{name} of {ranks} ranks")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_rank_ends_the_others_by_name_and_more_go_on(server: RedisServer, tmp_path: Path) -> None:
    directory = tmp_path / "killed"
    often = {"validate_every": 5, "checkpoint_every": 5}
    with started(server, directory, 2, steps=10**6, **often) as program:
        wait_until(lambda: judgements(directory) >= 3, "three judgements")
        rank_process(program, 1).send_signal(signal.SIGKILL)
        assert program.returncode() == 1
        assert "rank 0 of 2 has lost the others" in program.log()
        assert "rank 1: it was killed, or hangs" in program.log()
    before = read_history(directory)
    trained(server, directory, 3, steps=before[-1]["step"] + 20, **often)
    after = read_history(directory)[len(before) :]
    assert 0 < after[0]["step"] <= before[-1]["step"] + 5
    assert after[-1]["step"] == before[-1]["step"] + 20
    assert after[-1]["samples"] == 80


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("whom", ["torchrun", "rank 1"])
def test_told_to_end_all_ranks_end_at_a_checkpoint_and_one_goes_on(
    server: RedisServer, tmp_path: Path, whom: str
) -> None:
    directory = tmp_path / whom.replace(" ", "_")
    with started(server, directory, 2, steps=10**6, validate_every=5) as program:
        wait_until(lambda: judgements(directory) >= 1, "a judgement")
        told = program.process.pid if whom == "torchrun" else rank_process(program, 1).pid
        os.kill(told, signal.SIGTERM)
        assert program.returncode() == 1
        # of the two, torchrun may end the slower one while it says so: its checkpoint is written
        assert "the training was told to end after step" in program.log(), program.log()
        assert "has lost the others" not in program.log()
    step = read_history(directory)[-1]["step"]
    trained(server, directory, 1, steps=step + 20, validate_every=5)
    assert read_history(directory)[-1]["samples"] == 80


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranks_go_back_from_a_version_that_a_solver_reports(server: RedisServer, tmp_path: Path) -> None:
    address, solver = Address.parse(server.address), connect(Address.parse(server.address), producer="solver")
    script = Path(__file__).parent / "trial_trainer.py"
    with running(
        script, name="trainer", directory=tmp_path, environment=address.environment(), ranks=2
    ) as program:
        assert solver.wait_for_model("on_trial", 60, after=1) == 2
        solver.report_error("on_trial", float("nan"), 2)
        wait_until(lambda: len(gone_back_from(tmp_path)) == 1, "a rollback")
        assert solver.wait_for_model("on_trial", 60, after=2) == 3
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.returncode() == 1
        assert "the training was told to end after step" in program.log(), program.log()
    assert gone_back_from(tmp_path) == [2]
    found = {each.version: each.was_live for each in solver.model_versions("on_trial")}
    assert found == {1: True, 2: False, 3: True}
    state = checkpoint.load(tmp_path / "checkpoint.pt")
    assert state is not None
    assert state["parts"]["publisher"]["rolled_back"] == [2]
    solver.close()


def gone_back_from(directory: Path) -> list[int]:
    return [one["from"] for one in read_events(directory) if one["event"] == "rollback"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rank_that_hangs_ends_the_others_by_name(server: RedisServer, tmp_path: Path) -> None:
    directory = tmp_path / "hung"
    with started(server, directory, 2, steps=10**6, validate_every=5, rank_timeout_s=3) as program:
        wait_until(lambda: judgements(directory) >= 1, "a judgement")
        hung = rank_process(program, 1)
        hung.suspend()
        wait_until(lambda: "rank 1: it was killed, or hangs" in program.log(), "a sentence")
        hung.kill()  # torchrun would do so after half a minute
        assert program.returncode() == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_torchrun_starts_all_ranks_again_from_their_checkpoint(server: RedisServer, tmp_path: Path) -> None:
    directory = tmp_path / "again"
    often = {"steps": 200, "validate_every": 5, "checkpoint_every": 5}
    with started(server, directory, 2, restarts=1, **often) as program:
        wait_until(lambda: judgements(directory) >= 3, "three judgements")
        rank_process(program, 1).kill()
        assert program.returncode() == 0, program.log()
    steps = [line["step"] for line in read_history(directory)]
    assert steps[-1] == 200
    assert steps.count(5) == 1, "it began anew"


def test_a_rank_whose_others_do_not_come_says_so(server: RedisServer, tmp_path: Path) -> None:
    alone = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with running(
        Path("-m"),
        "trainers.train",
        *options(model="alone", steps=4, rank_timeout_s=1),
        name="trainer",
        directory=tmp_path,
        environment=Address.parse(server.address).environment() | alone,
    ) as program:
        assert program.returncode() == 1
        assert "rank 0 of 2 has lost the others when it was to meet them" in program.log(), program.log()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rank_that_fails_is_repeated_by_the_others(server: RedisServer, tmp_path: Path) -> None:
    with started(server, tmp_path / "failed", 2, steps=10, judges=99) as program:
        assert program.returncode() == 1
        assert "rank 0: NoSamples: the stream has ended with" in program.log()
        *_, end = program.log().partition("Root Cause")
        assert "NoSamples: the stream has ended with" in end  # not hidden behind what torchrun says
