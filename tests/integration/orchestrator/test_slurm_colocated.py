"""Databases beside the ranks of a program on two hosts, which share the run directory and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, JobState, LaunchOptions, Resources, colocate
from orchestrator.errors import JobFailed, PlacementError
from tests.integration.orchestrator.bound import cores_of_threads, servers_in
from tests.integration.orchestrator.conftest import Driver
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until
from tests.integration.orchestrator.test_slurm_databases import OPEN

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are needed"),
    pytest.mark.skipif(shutil.which("mpicc.mpich") is None, reason="there is no mpicc.mpich (apt: mpich)"),
]
SOURCE = Path(__file__).with_name("ranks.c")
PMI2 = LaunchOptions("slurm", extra_args=("--mpi=pmi2",))
SOLVER = """
import os, numpy as np
from smartredis import Client
client = Client(logger_name="solver")
rank = int(os.environ["SLURM_PROCID"])
client.put_tensor("u", np.full(3, float(rank)))
at = os.environ["SSDB"].partition(":")[0]
os.write(1, f"at {at} on {os.uname().nodename}\\n".encode())  # at once: the other rank writes to the log too
WAIT
assert client.get_tensor("u").tolist() == [rank] * 3  # nobody else's
"""
TRAINER = """
import numpy as np
from smartredis import Client, ConfigOptions
for number in (0, 1):
    client = Client(ConfigOptions.create_from_environment(f"solver_{number}"), logger_name="trainer")
    assert client.poll_tensor("u", 10, 6000)
    print(*client.get_tensor("u"))
    client.put_tensor("seen", np.zeros(1))
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with ranks of MPICH."""
    program = tmp_path_factory.mktemp("ranks") / "ranks"
    subprocess.run(["mpicc.mpich", "-o", str(program), str(SOURCE)], check=True, timeout=60)
    return program


def solver_of(ranks: Path, wait: str = "") -> Application:
    """Return a program that has one rank on each of two hosts, which meet before they use their databases."""
    text = SOLVER.replace("WAIT", wait)
    command = ["sh", "-c", f'{ranks} && exec {sys.executable} -c "$0"', text]
    return Application("solver", command, resources=Resources(nodes=2))


def left_on(slurm: SlurmNodes, name: str) -> list[str]:
    """Return what runs have left among the temporary files of a node."""
    shown = ["sh", "-c", "ls -d /tmp/penstock-*-*; true"]
    return subprocess.run(slurm.inside(name, *shown), capture_output=True, text=True).stdout.split()


def test_nodes_do_not_share_temporary_files(slurm: SlurmNodes, tmp_path: Path) -> None:
    subprocess.run(slurm.inside("n1", "touch", "/tmp/of_n1", str(tmp_path / "of_all")), check=True)
    assert (tmp_path / "of_all").exists() and not Path("/tmp/of_n1").exists()
    assert subprocess.run(slurm.inside("n2", "ls", "/tmp/of_n1"), capture_output=True).returncode
    subprocess.run(slurm.inside("n1", "rm", "/tmp/of_n1"), check=True)


@pytest.mark.parametrize("runtime", ["shared name", "the driver's alone"])
def test_ranks_on_two_hosts_have_a_database_each(
    allocation: SlurmNodes,
    ranks: Path,
    runtime: str,
    short_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if runtime == "the driver's alone":
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_directory))
    with Experiment("beside", PMI2) as exp:
        job = exp.start(colocate(solver_of(ranks)))
        exp.wait(timeout_s=90)
    said = job.log.read_text().splitlines()
    assert sorted(line for line in said if line.startswith("rank")) == [
        f"rank {rank} of 2, sum 1, cores 0" for rank in (0, 1)
    ]
    assert sorted(line for line in said if line.startswith("at")) == [
        f"at unix on {host}" for host in ("n1", "n2")
    ]
    assert sorted(path.name.rpartition("_")[2] for path in job.directory.glob("c[0-9]*")) == ["n1", "n2"]
    assert (left_on(allocation, "n1"), left_on(allocation, "n2")) == ([], [])


def test_databases_on_the_hosts_are_bound_to_cores_of_their_own(allocation: SlurmNodes, ranks: Path) -> None:
    with Experiment("bound", PMI2) as exp:
        solver = exp.start(colocate(solver_of(ranks, "import time; time.sleep(1000)")))
        exp.colocated(solver)
        placement = solver.placement
        assert placement is not None and placement.bound
        assert [(place.host, place.cores) for place in placement.beside] == [("n1", (1,)), ("n2", (1,))]
        servers = servers_in(solver.directory)
        assert len(servers) == 2
        assert [cores_of_threads(server) for server in servers] == [{"1"}, {"1"}]
        until(lambda: solver.log.read_text().count(", cores 0") == 2)  # those of its ranks
        near = Application("near", ["true"], resources=Resources(near="solver", exclusive=True))
        with pytest.raises(
            PlacementError, match=r"needs 1 core\(s\) for itself, and 0 of the 4 of n1, n2 are free"
        ):
            exp.start(near)
        solver.stop(20)


def test_a_trainer_on_another_host_joins_them(allocation: SlurmNodes, ranks: Path) -> None:
    with Experiment("joined", PMI2) as exp:
        waits = 'assert client.poll_tensor("seen", 10, 6000)'
        solver = exp.start(colocate(solver_of(ranks, waits), port=0, **OPEN))
        beside = exp.colocated(solver)
        assert [database.host for database in beside] == ["n1", "n2"]
        program = Application(
            "trainer", [sys.executable, "-c", TRAINER], resources=Resources(away_from="solver")
        )
        trainer = exp.start(program, database=beside)
        exp.wait(timeout_s=90)
    assert trainer.placement is not None and trainer.placement.hosts == ("n3",)
    assert trainer.log.read_text().splitlines()[-2:] == ["0.0 0.0 0.0", "1.0 1.0 1.0"]


def test_a_trainer_joins_a_socket_on_its_own_host_only(allocation: SlurmNodes) -> None:
    with Experiment("near", "slurm") as exp:
        solver = exp.start(
            colocate(Application("solver", ["sleep", "1000"], resources=Resources(nodes=1)), module=())
        )
        (beside,) = exp.colocated(solver)
        ask = "import os, redis; print(redis.Redis(unix_socket_path=os.environ['SSDB'][len('unix://'):]).ping())"
        trainer = Application("trainer", [sys.executable, "-c", ask], resources=Resources(near="solver"))
        job = exp.start(trainer, database=beside)
        exp.wait(job, timeout_s=60)
        assert job.log.read_text() == "True\n"
        far = Application("far", ["true"], resources=Resources(away_from="solver"))
        with pytest.raises(PlacementError, match=r"'far' has its place on n2, .* on n1 cannot be reached"):
            exp.start(far, database=beside)
        solver.stop(20)
    assert solver.state is JobState.CANCELED
    assert left_on(allocation, "n1") == []


def test_a_database_that_is_killed_on_a_host_fails_the_program(allocation: SlurmNodes) -> None:
    with pytest.raises(JobFailed, match=r"'solver' ended with exit code 1"), Experiment("shot") as exp:
        app = Application("solver", ["sleep", "1000"], resources=Resources(nodes=2))
        solver = exp.start(colocate(app, module=()))
        exp.colocated(solver)
        os.kill(servers_in(solver.directory)[0], signal.SIGKILL)
        exp.wait(timeout_s=60)
    assert "in the middle" in solver.log.read_text()
    assert servers_in(exp.run_dir) == []
    until(lambda: not allocation.steps())
    assert (left_on(allocation, "n1"), left_on(allocation, "n2")) == ([], [])


START = """
with Experiment("killed") as exp:
    app = Application("solver", ["sleep", "1000"], resources=Resources(nodes=2))
    solver = exp.start(colocate(app, module=()))
    exp.colocated(solver)
    print(exp.run_dir, flush=True)
    exp.wait()
"""


def test_a_killed_driver_leaves_nothing_on_the_hosts(
    allocation: SlurmNodes, driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    running = driver(START)
    servers = servers_in(Path(running.line()))
    assert len(servers) == 2 and left_on(allocation, "n1")
    running.signal(signal.SIGKILL)
    running.end()
    gone(*servers)
    until(lambda: not allocation.steps())
    until(lambda: not left_on(allocation, "n1") and not left_on(allocation, "n2"))
