"""The launcher smartsim beside its contract: what SmartSim can do, what not, and the commands it makes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import Application, Ensemble, Experiment, LaunchOptions, Resources
from orchestrator.errors import JobFailed, PlacementError, SmartSimError, StartFailed, UsageError
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.base import JobState, Launch
from orchestrator.launchers.smartsim import SmartSimLauncher
from orchestrator.placing import place
from orchestrator.record import all_runs
from tests.integration.orchestrator.conftest import ROOT, wait_gone
from tests.integration.servers import wait_until
from tests.integration.smartsim import lsf

GOLDEN = Path(__file__).parents[2] / "data" / "smartsim_argv.json"
LOCAL = LaunchOptions("smartsim", scheduler="local")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path: Path, smartsim_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a directory of the test's own, where the launcher finds SmartSim."""
    monkeypatch.setenv("PENSTOCK_SMARTSIM", smartsim_python)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def launcher() -> Iterator[SmartSimLauncher]:
    """The launcher with SmartSim's local one."""
    launcher = SmartSimLauncher(options=LOCAL)
    yield launcher
    launcher.close()


def described(directory: Path, text: str) -> Launch:
    return Launch("job", ["sh", "-c", text], directory / "job", directory / "job" / "log.txt", {})


def test_an_experiment_runs_by_smartsim(tmp_path: Path) -> None:
    with Experiment("e", LOCAL) as exp:
        assert "smartsim (local, SmartSim 0.8" in exp.preview(Application("a", ["true"])).launcher
        grid = {"n": [1, 2, 3]}
        runs = exp.start(Ensemble("m", ["sh", "-c", "echo {n}"], grid=grid, resources=Resources(cores=1)))
        exp.wait(runs)
        assert [job.log.read_text() for job in runs.jobs] == ["1\n", "2\n", "3\n"]
        assert all(job.pid is not None and job.returncode == 0 for job in runs.jobs)
    assert [run.state for run in all_runs()] == ["completed"]


def test_the_experiment_of_the_page_on_smartsim_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "smartsim.md").read_text()
    (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(text, "smartsim.md", "exec"), {})
    assert "by SmartSim\n" in capsys.readouterr().out


def test_a_program_is_killed_at_once_and_that_is_said(
    launcher: SmartSimLauncher, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = launcher.start(described(tmp_path, "trap 'echo in order; exit' TERM; sleep 1000 & wait"))
    job.stop(20)
    assert (job.state, job.returncode) == (JobState.CANCELED, -signal.SIGKILL)
    assert job.log.read_text() == ""
    assert "job is killed at once: SmartSim cannot tell a program to end" in capfd.readouterr().err


def test_an_end_is_seen_while_other_programs_are_asked_for(
    launcher: SmartSimLauncher, tmp_path: Path
) -> None:
    job = launcher.start(described(tmp_path, "sleep 0.5"))
    other = replace(described(tmp_path, "true"), ranks=1)
    deadline = time.monotonic() + 30
    while not job.state.final and time.monotonic() < deadline:
        launcher.argv(other)  # so SmartSim's process always has something to hear
    assert job.state is JobState.COMPLETED


def test_what_fails_at_once_has_no_exit_code(launcher: SmartSimLauncher, tmp_path: Path) -> None:
    job = launcher.start(described(tmp_path, "echo the reason; exit 3"))
    with pytest.raises(JobFailed, match="has failed, and SmartSim does not tell its exit code") as caught:
        job.wait(30)
    assert (caught.value.returncode, caught.value.log_tail) == (None, "the reason")


def test_when_the_process_of_smartsim_is_killed_its_programs_are_lost(
    launcher: SmartSimLauncher, tmp_path: Path
) -> None:
    job = launcher.start(described(tmp_path, "exec sleep 1000"))
    assert job.pid is not None
    os.kill(launcher.pid, signal.SIGKILL)
    with pytest.raises(JobFailed, match="is lost: the process in which SmartSim ran has ended"):
        job.wait(30)
    with pytest.raises(StartFailed, match="could not be started by SmartSim: the process"):
        launcher.start(described(tmp_path, "true"))
    os.kill(job.pid, signal.SIGKILL)


KILLED = """
import os, time
from orchestrator import Application, Experiment, LaunchOptions
with Experiment("e", LaunchOptions("smartsim", scheduler="local")) as exp:
    job = exp.start(Application("long", ["sleep", "1000"]))
    print(job.pid, exp._launcher.pid, flush=True)
    exp.wait()
"""


def test_nothing_is_left_of_a_driver_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "driver.py"], stdout=subprocess.PIPE, text=True, env=environment
    ) as driver:
        assert driver.stdout is not None
        pids = [int(word) for word in driver.stdout.readline().split()]
        driver.kill()
    wait_gone(*pids)
    (run,) = all_runs()
    wait_until(lambda: not run.runtime.exists(), "its watcher to clean up")
    assert run.state == "lost"


def test_when_the_driver_has_gone_its_steps_are_stopped(tmp_path: Path) -> None:
    launcher = SmartSimLauncher(options=LOCAL)
    job = launcher.start(described(tmp_path, "exec sleep 1000"))
    assert job.pid is not None
    launcher.close()  # as its end would: the input of SmartSim's process ends
    wait_gone(job.pid)


def test_steps_of_lsf_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for its commands, which SmartSim asks as it would LSF's."""
    (tmp_path / "lsf").mkdir()
    for name, text in lsf.install(tmp_path / "lsf").items():
        monkeypatch.setenv(name, text)
    launcher = SmartSimLauncher(options=LaunchOptions("smartsim", scheduler="lsf"))
    try:
        one = {"ranks": 1, "environment": {"X": "it's 1"}}
        good = launcher.start(replace(described(tmp_path, "echo $X; pwd; sleep 1"), **one))
        assert good.wait(60) is JobState.COMPLETED
        assert good.log.read_text() == f"it's 1\n{good.directory}\n"
        bad = launcher.start(replace(described(tmp_path, "sleep 1; exit 3"), **one))
        with pytest.raises(JobFailed, match="ended with exit code 3"):
            bad.wait(60)
        long = launcher.start(replace(described(tmp_path, "exec sleep 1000"), **one))
        long.stop()
        assert long.state is JobState.CANCELED
    finally:
        launcher.close()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        (
            LaunchOptions("smartsim", scheduler="slurm"),
            UsageError,
            "scheduler='slurm': .* local, lsf, sge, pals",
        ),
        (LaunchOptions("local", scheduler="lsf"), UsageError, "the launcher 'local' has none"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options: LaunchOptions, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named), Experiment("e", options):
        pass


def test_a_python_without_smartsim_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_SMARTSIM", "/usr/bin/python3")
    with pytest.raises(SmartSimError, match="/usr/bin/python3 has no SmartSim: /usr/bin/python3 -m pip"):
        SmartSimLauncher(options=LOCAL)


def test_what_penstock_drives_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sacct", "srun", "salloc", "sbatch", "scancel", "sstat", "sinfo"):
        stand_in(tmp_path / name)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SmartSimError, match="SmartSim finds 'slurm' here, which Penstock drives itself"):
        SmartSimLauncher(options=LaunchOptions("smartsim"))


def test_what_smartsims_local_launcher_cannot_place_is_refused(
    launcher: SmartSimLauncher, tmp_path: Path
) -> None:
    ranks = Launch("s", ["true"], tmp_path, tmp_path / "log", {}, ranks=2)
    with pytest.raises(
        PlacementError, match="'s' asks for 2 ranks, and SmartSim cannot do that: its local launcher"
    ):
        launcher.start(ranks)
    gpus = place("s", Resources(ranks=1, gpus=1), parse_hosts("localhost:1:1"), [])
    one = Launch("s", ["true"], tmp_path, tmp_path / "log", {}, placement=gpus, ranks=1)
    with pytest.raises(PlacementError, match="'s' asks for GPUs of its ranks, and SmartSim cannot"):
        launcher.start(one)
    elsewhere = place("s", Resources(), parse_hosts("elsewhere:2"), [])
    away = Launch("s", ["true"], tmp_path, tmp_path / "log", {}, placement=elsewhere)
    with pytest.raises(PlacementError, match="'s' has its place on elsewhere, and SmartSim cannot"):
        launcher.start(away)


@pytest.mark.parametrize(
    ("scheduler", "commands"), [("lsf", ["jsrun"]), ("pals", ["mpiexec"]), ("sge", ["mpirun"])]
)
def test_its_command_is_the_recorded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str, commands: list[str]
) -> None:
    """What SmartSim makes of a program with ranks; no scheduler is asked for that."""
    for name in commands:
        stand_in(tmp_path / name)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for variable in ("LSB_JOBID", "PBS_JOBID", "JOB_ID"):
        monkeypatch.setenv(variable, "7")
    launcher = SmartSimLauncher(
        options=LaunchOptions("smartsim", parse_hosts("a:4,b:4"), scheduler=scheduler)
    )
    try:
        resources = Resources(nodes=2, ranks_per_node=2, cores_per_rank=2)
        placement = place("solver", resources, launcher.inventory(), [])
        directory = tmp_path / "solver"
        launch = Launch(
            "solver", ("/bin/solver", "-a"), directory, directory / "log.txt", {"X": "1"}, placement, 4
        )
        argv = [word.replace(str(tmp_path), "/run") for word in launcher.argv(launch)]
    finally:
        launcher.close()
    assert argv == json.loads(GOLDEN.read_text())[scheduler]


def stand_in(program: Path) -> None:
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
