"""Runs that are submitted to Slurm and followed from its login node, which is this host."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import ROOT
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until
from tests.integration.orchestrator.submitted import FOREVER, shown, the_run, toy_experiment

pytestmark = pytest.mark.slurm

ON = ("--on", "slurm", "--nodes", "2", "--time", "10")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """An experiment whose program runs on two hosts."""
    return toy_experiment(tmp_path, "up on $(hostname)")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--on", "slurm"], "--on slurm needs --nodes N and --time"),
        (["--on", "slurm", "--nodes", "2"], "--on slurm needs --nodes N and --time"),
        (["--on", "lsf", "--nodes", "2", "--time", "5"], "no scheduler 'lsf'; there are: slurm, pbs"),
        (["--nodes", "2"], "give --on too, as in --on slurm"),
        (["--sbatch=--partition=a"], "give --on too"),
        (["--on", "slurm", "--nodes", "0", "--time", "5"], "--nodes 0"),
        (["--on", "slurm", "--nodes", "two", "--time", "5"], "--nodes"),
        (["--on", "slurm", "--nodes", "2", "--time", "soon"], "'soon' is no time"),
        ([*ON, "--hosts", "a:2"], "Slurm chooses the hosts"),
        ([*ON, "--per-node", "ncpus=2"], "--per-node ncpus=2: is for PBS"),
        ([*ON, "--set", "than=true"], "did you mean 'then'"),
        ([*ON, "--launcher", "slrum"], "there is no launcher 'slrum'"),
        ([*ON, "--checkpoint", "0"], "--checkpoint 0: must be a number of seconds above 0"),
        ([*ON, "--sbatch", "--nodes=9"], "--nodes=9: is given by Penstock"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_made(
    toy: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = penstock("run", "toy", *arguments)
    assert done.returncode == 2 and named in done.stderr
    assert not (tmp_path / "runs").exists()


def test_without_sbatch_it_says_what_is_missing(toy: Path, tmp_path: Path) -> None:
    done = penstock("run", "toy", *ON, env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 1 and "there is no sbatch on PATH" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (
            ("--nodes", "9"),
            "would not start this job: .*not available. Nodes there are, by partition: 4 in main",
        ),
        (("--sbatch=--partition=nope",), "invalid partition specified: nope.*4 in main"),
        (("--sbatch=--no-such-thing",), "unrecognized option '--no-such-thing'"),
    ],
)
def test_what_slurm_would_never_start_is_refused(
    toy: Path, slurm: SlurmNodes, tmp_path: Path, more: tuple[str, ...], named: str
) -> None:
    done = penstock("run", "toy", *ON, *more)
    assert done.returncode == 1
    assert re.search(named, done.stderr, re.DOTALL), done.stderr
    assert not (tmp_path / "runs").exists()
    assert slurm.command("squeue", "--noheader") == ""


def test_a_preview_shows_the_script_and_submits_nothing(toy: Path, tmp_path: Path) -> None:
    done = penstock("run", "toy", *ON, "--sbatch=--partition=main", "--preview", "--quick")
    lines = done.stdout.splitlines()
    assert "#SBATCH --nodes=2" in lines and "#SBATCH --partition=main" in lines
    assert lines[-1].startswith(
        f"exec {sys.executable} -u -m orchestrator.cli run {toy} --run-dir={tmp_path}/runs/toy/"
    )
    assert lines[-1].endswith(" --quick")
    assert not (tmp_path / "runs").exists()


def test_a_submitted_run_is_followed_to_its_end(toy: Path, slurm: SlurmNodes) -> None:
    done = penstock("run", "toy", *ON, "--set", "then=echo done", "--sbatch=--comment=two words")
    assert done.returncode == 0, done.stderr
    assert f"submitted {the_run().run_id} as job " in done.stderr
    assert (the_run().directory / "batch.sh").read_text() == done.stdout
    followed = penstock("logs", "batch", "-f")
    assert "the driver is up\n" in followed.stdout, followed.stderr
    assert followed.stdout.endswith("the driver is over\n")
    run = shown()
    assert (run["state"], run["error"], run["driver"] is None) == ("completed", None, False)
    assert sorted(penstock("logs", "solver").stdout.split("\n")) == [
        "",
        "done",
        "done",
        "up on n1",
        "up on n2",
    ]
    assert [rank["host"] for rank in run["jobs"][0]["ranks"]] == ["n1", "n2"]
    assert penstock("ps").stdout == "no run is active\n"


def test_a_run_that_waits_shows_why_and_can_be_stopped(toy: Path, slurm: SlurmNodes) -> None:
    slurm.allocate()
    penstock("run", "toy", *ON)
    until(lambda: shown()["job"]["reason"] == "Resources")
    run = shown()
    assert (run["state"], run["job"]["state"], run["driver"]) == ("queued", "PENDING", None)
    text = penstock("ps").stdout
    assert f"{run['run']}  queued" in text and f"job {run['batch']} is pending: Resources" in text
    assert "has no program 'solver'; it has: batch" in penstock("logs", "solver").stderr
    assert penstock("stop").stdout == f"stopped {run['run']}\n"
    assert (shown()["state"], shown()["error"]) == ("canceled", "it was stopped before its driver could")
    assert run["batch"] not in slurm.command("squeue", "--noheader", "--format=%i").split()


def test_an_active_run_is_stopped_from_outside(
    toy: Path, slurm: SlurmNodes, gone: Callable[..., None]
) -> None:
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: the_run().state == "active" and the_run().record.jobs)
    until(lambda: penstock("logs", "solver").stdout.count("up on") == 2)
    run = the_run()
    assert run.alive and run.record.host == "n1"
    assert "solver" in penstock("ps").stdout
    assert penstock("stop").stdout == f"stopped {run.run_id}\n"
    assert the_run().state == "interrupted"
    assert {job.state for job in the_run().record.jobs} == {"canceled"}
    until(lambda: not slurm.command("squeue", "--noheader"))


def test_a_job_that_was_canceled_by_hand_is_lost_and_cleaned_up(toy: Path, slurm: SlurmNodes) -> None:
    slurm.allocate()
    penstock("run", "toy", *ON)
    slurm.command("scancel", the_run().record.batch or "")
    assert shown()["state"] == "lost"
    assert "cleaned up" in penstock("stop").stdout
    assert shown()["state"] == "failed"


def test_a_driver_that_never_comes_to_its_experiment_is_lost(toy: Path, slurm: SlurmNodes) -> None:
    (toy / "run.py").write_text("def main(config, *, launcher, run_dir):\n    raise LookupError('of ours')\n")
    penstock("run", "toy", *ON)
    assert "LookupError: of ours" in penstock("logs", "batch", "-f").stdout
    run = shown()
    assert run["state"] == "lost"
    reason = f"job {run['batch']} ended before its driver had started"
    assert reason in penstock("stop").stdout
    assert (shown()["state"], shown()["error"]) == ("failed", f"its {reason}")


def test_a_failing_run_says_so_from_outside(toy: Path, slurm: SlurmNodes) -> None:
    penstock("run", "toy", *ON, "--set", "then=exit 3")
    said = penstock("logs", "batch", "-f").stdout
    assert "'solver' ended with exit code 3" in said
    assert shown()["state"] == "failed" and "exit code 3" in shown()["error"]


def test_a_killed_driver_takes_its_job_and_programs_along(toy: Path, slurm: SlurmNodes) -> None:
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: the_run().state == "active" and penstock("logs", "solver").stdout.count("up on") == 2)
    run = the_run()
    assert run.record.driver is not None
    os.kill(run.record.driver.pid, signal.SIGKILL)
    until(lambda: not slurm.command("squeue", "--noheader"))
    assert the_run().state == "lost"
    assert "cleaned up" in penstock("stop").stdout
    assert (shown()["state"], shown()["error"]) == ("failed", "the driver was killed")
    assert shown()["jobs"][0]["state"] == "canceled"


def test_another_run_in_its_directory_is_refused(toy: Path, slurm: SlurmNodes) -> None:
    slurm.allocate()
    penstock("run", "toy", *ON, "--run-dir", "mine")
    for again in (
        penstock("run", "toy", *ON, "--run-dir", "mine"),
        penstock("run", "toy", "--run-dir", "mine"),
    ):
        assert again.returncode == 1 and "mine holds a run already" in again.stderr
    penstock("stop")
    assert slurm.command("squeue", "--noheader", "--format=%j") == "no-shell"


def test_the_experiment_of_the_page_on_slurm_runs(slurm: SlurmNodes, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "slurm.md").read_text()
    (tmp_path / "waves").mkdir()
    for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        name = re.match(r"# (waves|sweep|ranks)/(\w+\.py)", text)
        assert name is not None
        if name[1] == "waves":  # the others are tried in test_slurm_array.py and test_slurm_mpi4py.py
            (tmp_path / "waves" / name[2]).write_text(text)
    penstock("run", "waves", "--on", "slurm", "--nodes", "3", "--time", "10")
    said = penstock("logs", "batch", "-f").stdout
    assert {f"step {step} of rank {rank}: {rank}" for step in range(3) for rank in range(3)} <= set(
        said.splitlines()
    )
    assert (shown()["state"], shown()["error"]) == ("completed", None)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_experiment_runs_unchanged_on_a_node(slurm: SlurmNodes) -> None:
    done = penstock(
        "run", str(ROOT / "experiments" / "sine_hello"), "--on", "slurm", "--nodes", "1", "--time", "10"
    )
    assert done.returncode == 0, done.stderr
    until(lambda: shown()["state"] not in ("queued", "active"), 240)
    assert (shown()["state"], shown()["error"]) == ("completed", None)
    assert json.loads((the_run().directory / "result.json").read_text())["passed"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("settings", [("shards=2", "nodes=2"), ("colocated=true",)])
def test_heat_surrogate_runs_over_nodes(slurm: SlurmNodes, settings: tuple[str, ...]) -> None:
    given = [word for setting in (*settings, "interface=hostname") for word in ("--set", setting)]
    heat = str(ROOT / "experiments" / "heat_surrogate")
    done = penstock("run", heat, "--quick", "--on", "slurm", "--nodes", "4", "--time", "10", *given)
    assert done.returncode == 0, done.stderr
    until(lambda: shown()["state"] not in ("queued", "active"), 240)
    run = shown()
    assert (run["state"], run["error"]) == ("completed", None)
    assert json.loads((the_run().directory / "result.json").read_text())["passed"]
    hosts = {job["name"]: job["ranks"][0]["host"] for job in run["jobs"] if job["ranks"]}
    assert [hosts.get(f"database_{shard}") for shard in (0, 1)] == (
        ["n1", "n2"] if "shards=2" in settings else [None, None]
    )
    assert len(set(hosts.values())) >= 3, hosts


def test_heat_surrogate_says_how_its_database_is_reached_from_other_nodes(allocation: SlurmNodes) -> None:
    done = penstock("run", str(ROOT / "experiments" / "heat_surrogate"), "--quick")
    assert done.returncode == 2, done.stderr
    assert re.search(
        r"has its place on n1, .* cannot be reached: .* This host has: .*\. "
        r"This experiment is told so by --set interface=hostname$",
        done.stderr.strip(),
    ), done.stderr


@pytest.mark.slow
def test_a_node_that_dies_ends_the_run_with_its_reason(toy: Path, slurm: SlurmNodes) -> None:
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: the_run().state == "active" and penstock("logs", "solver").stdout.count("up on") == 2)
    slurm.kill_node("n2")
    try:
        until(lambda: not slurm.command("squeue", "--noheader"), 90)
        assert the_run().state in ("failed", "interrupted")  # the driver hears of the node, or of its own end
        assert the_run().record.jobs[0].state in ("failed", "canceled")
    finally:
        slurm.start_node("n2")
