"""A trainer that is killed goes on where it was; a database that dies ends everybody, who say so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from sim_clients import Address, Bound, Client, ModelMissing, connect
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.trainers.programs import ROOT, running
from trainers import checkpoint
from trainers.history import HISTORY, read_history
from trainers.train import CHECKPOINT

HERE = Path(__file__).parent
SINE = ROOT / "experiments" / "sine_hello"
HEAT = ROOT / "experiments" / "heat_surrogate"
PLATE = (
    "--points=16",
    "--jump_steps=100",
    "--jump_time=1.5",
    "--least_diffusivity=0.005",
    "--greatest_diffusivity=0.015",
)


@pytest.fixture
def server(start_server: StartServer) -> RedisServer:
    return start_server()


@pytest.fixture
def environment(server: RedisServer) -> dict[str, str]:
    return Address.parse(server.address).environment()


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    yield connect(Address.parse(server.address), producer="test")


def is_posted(client: Client, model: str) -> bool:
    try:
        return client.model_version(model) >= 1
    except ModelMissing:
        return False


def put_lines(server: RedisServer, count: int = 30) -> None:
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        client = connect(Address.parse(server.address), producer=name)
        for step in range(count):
            x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": 0.5 * x + 2})
        client.end_stream()


def judgements(directory: Path) -> int:
    return len(read_history(directory)) if (directory / HISTORY).exists() else 0


def test_a_killed_trainer_goes_on_from_its_checkpoint(
    server: RedisServer, client: Client, environment: dict[str, str], tmp_path: Path
) -> None:
    put_lines(server)
    start = {"name": "trainer", "directory": tmp_path, "environment": environment}
    with running(HERE / "line_trainer.py", "1000000", **start) as trainer:
        wait_until(lambda: judgements(tmp_path) >= 3, "three judgements")
        trainer.process.kill()
        assert trainer.returncode() == -signal.SIGKILL
    before = read_history(tmp_path)
    goal = before[-1]["step"] + 100
    with running(HERE / "line_trainer.py", str(goal), **start) as trainer:
        assert trainer.returncode() == 0, trainer.log()
    lines = read_history(tmp_path)
    after = lines[len(before) :]
    assert after[0]["step"] > 20, "it began anew"
    assert after[0]["snapshots"] == 60
    assert after[-1]["step"] == goal
    versions = [line["version"] for line in lines if line["version"]]
    assert versions == sorted(set(versions))
    assert client.model_version("line") == versions[-1]


def noted(directory: Path) -> list[list[int]]:
    """Return the numbers of each batch that a trainer began a step with."""
    path = directory / "notes.txt"
    return [[*map(int, line.split())] for line in path.read_text().splitlines()] if path.exists() else []


def steps_kept(directory: Path) -> int:
    state = checkpoint.load(directory / CHECKPOINT)
    return 0 if state is None else state["own"]["step"]


@pytest.mark.parametrize(
    ("kills", "checkpoint_every"),
    [
        pytest.param((5,), 3, id="once"),
        pytest.param((1, 2, 9, 30), 7, id="often", marks=pytest.mark.slow),
        pytest.param((1, 3, 10, 30), 1, id="while it writes checkpoints", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_a_trainer_learns_each_snapshot_once(
    server: RedisServer,
    client: Client,
    environment: dict[str, str],
    tmp_path: Path,
    kills: tuple[int, ...],
    checkpoint_every: int,
) -> None:
    """It learns again what it had learned since its checkpoint, and only that; what it had not yet, later."""
    count = 40 + 8 * sum(kills)
    client.bound_stream(Bound(items=24, wait_s=120))
    solver = threading.Thread(target=count_to, args=(server, count), daemon=True)
    solver.start()
    start = {"name": "trainer", "directory": tmp_path, "environment": environment}
    learned: list[int] = []
    before = 0
    for kill in (*kills, None):
        begun = len(noted(tmp_path))
        end = begun + (kill or 0)
        with running(HERE / "counting_trainer.py", str(checkpoint_every), **start) as trainer:
            if kill is None:
                assert trainer.returncode() == 0, trainer.log()
            else:
                wait_until(lambda end=end: len(noted(tmp_path)) >= end, f"{kill} batches")
                trainer.process.kill()
                assert trainer.returncode() == -signal.SIGKILL, trainer.log()
        kept = steps_kept(tmp_path) - before
        batches = noted(tmp_path)[begun:]
        assert len(batches) - kept <= checkpoint_every + 1, "more is lost than there is between checkpoints"
        learned += [number for batch in batches[:kept] for number in batch]
        before += kept
    assert learned == list(range(count))
    solver.join(10)
    assert not solver.is_alive()
    assert client.fill().consumers == {}


def count_to(server: RedisServer, count: int) -> None:
    for name, numbers in (("b", 1), ("a", count)):
        solver = connect(Address.parse(server.address), producer=name)
        for number in range(numbers):
            solver.put_snapshot(number, {"x": np.full(1, number, np.float32)})
        solver.end_stream()


@pytest.mark.slow
def test_a_database_that_dies_ends_solvers_and_trainer_with_a_sentence(
    server: RedisServer, client: Client, environment: dict[str, str], tmp_path: Path
) -> None:
    def start(script: Path, *arguments: str, name: str) -> None:
        directory = tmp_path / name
        program = running(script, *arguments, name=name, directory=directory, environment=environment)
        programs[name] = stack.enter_context(program)

    programs = {}
    with ExitStack() as stack:
        start(SINE / "learn.py", "1000000", "600", name="trainer")
        for seed in (0, 1):
            start(SINE / "produce.py", str(seed), name=f"swing_{seed}")
        start(HEAT / "coupled.py", "--seed=1", *PLATE, name="coupled")
        wait_until(lambda: is_posted(client, "sine"), "a first version", timeout_s=90)
        assert all(program.process.poll() is None for program in programs.values())
        server.kill()
        for name, program in programs.items():
            assert program.returncode() == 1, name
            assert f"the database at {server.address} does not answer" in program.log(), name
            assert "Traceback" not in program.log(), name


def test_a_solver_that_blows_up_ends_the_trainer_by_name(
    server: RedisServer, environment: dict[str, str], tmp_path: Path
) -> None:
    for name in ("swing_0", "swing_1"):
        bad = connect(Address.parse(server.address), producer=name)
        bad.put_snapshot(0, {"x": np.zeros((64, 1), np.float32), "y": np.full((64, 1), np.nan, np.float32)})
    arguments = ("100", "60")
    start = {"name": "trainer", "directory": tmp_path, "environment": environment}
    with running(SINE / "learn.py", *arguments, **start) as trainer:
        assert trainer.returncode() == 1
        assert "the field 'y' of the snapshot 'swing_0.0.0' has 64 values" in trainer.log()
