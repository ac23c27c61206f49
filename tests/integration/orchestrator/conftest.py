"""A home of its own for each test, and a check that no run leaves anything behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.record import all_runs
from orchestrator.watcher import belonging
from tests.integration.orchestrator import pbs
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, missing

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0
END_S = 120.0
"""How long a driver may take to end with all that it has left: a scheduler may be asked for a minute."""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Run in a directory of the test's own; afterwards no run has left a process, a socket or a lock."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SLURMD_", "PBS_"))]:
        monkeypatch.delenv(name)  # of the developer's own allocation
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for run in all_runs():
        assert list(belonging(run.run_id, run.sessions)) == [], f"{run.run_id} left processes"
        assert not run.runtime.exists(), f"{run.run_id} left {list(run.runtime.iterdir())}"
        assert not run.alive


class Driver:
    """An Experiment script that runs as a process of its own."""

    def __init__(self, script: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        """Wait for a line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def numbers(self) -> list[int]:
        """Wait for a line of process numbers."""
        return [int(word) for word in self.line().split()]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said on stderr."""
        _, said = self.process.communicate(timeout=END_S)
        return self.process.returncode, said


@pytest.fixture
def driver(tmp_path):
    """Start Experiment scripts; none outlives the test."""
    started = []

    def start(text: str) -> Driver:
        script = tmp_path / f"driver_{len(started)}.py"
        script.write_text("import os, sys\nfrom orchestrator import *\n" + textwrap.dedent(text))
        started.append(Driver(script))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def wait_gone(*pids: int) -> None:
    """Wait by event until processes that are not our children have ended."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
            assert ready, f"process {pid} still runs"
        finally:
            os.close(descriptor)


@pytest.fixture
def gone():
    """The function that waits for the end of processes."""
    return wait_gone


@pytest.fixture(scope="session")
def slurm_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmNodes]:
    """A Slurm of four nodes with two cores each, for all tests that need one; they share tests' files."""
    reason = missing()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    shared = [tmp_path_factory.getbasetemp()]
    with (
        tempfile.TemporaryDirectory(prefix="penstock-") as directory,
        SlurmNodes(Path(directory), shared=shared) as nodes,
    ):
        yield nodes


@pytest.fixture
def slurm(slurm_nodes: SlurmNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmNodes]:
    """That Slurm, all of whose nodes are idle; the test is its login node, outside of any allocation."""
    for name, text in slurm_nodes.environment.items():
        monkeypatch.setenv(name, text)
    yield slurm_nodes
    slurm_nodes.release()


@pytest.fixture
def allocation(slurm: SlurmNodes, monkeypatch: pytest.MonkeyPatch) -> SlurmNodes:
    """The same, as if the test ran in a shell of salloc: four whole nodes are allocated to it."""
    monkeypatch.setenv("SLURM_JOB_ID", slurm.allocate())
    return slurm


@pytest.fixture
def pbs_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if the test ran in a job of PBS that has the cores of this host; return its node file."""
    nodes = tmp_path / "nodes"
    nodes.write_text(f"{os.uname().nodename}\n" * len(os.sched_getaffinity(0)))
    monkeypatch.setenv("PBS_JOBID", "7.stand-in")
    monkeypatch.setenv("PBS_NODEFILE", str(nodes))
    return nodes


@pytest.fixture
def pbs_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The commands of a stand-in for PBS, as on its login node; return its directory."""
    directory = tmp_path / "pbs"
    directory.mkdir()
    for name, text in pbs.install(directory).items():
        monkeypatch.setenv(name, text)
    yield directory
    pbs.end_all(directory)
