"""Runs in a job of PBS, and submitted to it: a stand-in, whose commands really run scripts on this host."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, Resources
from orchestrator.errors import MpiError, TimeOver, WaitTimeout
from orchestrator.record import all_runs
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import ROOT
from tests.integration.orchestrator.launchers import stand_in_for_pals
from tests.integration.orchestrator.slurm_nodes import until
from tests.integration.orchestrator.submitted import FOREVER, shown, the_run, toy_experiment

ON = ("--on", "pbs", "--nodes", "2", "--time", "10", "--per-node", "ncpus=2")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """An experiment whose program runs on two hosts."""
    return toy_experiment(tmp_path, "rank $PALS_RANKID of job $PBS_JOBID is up")


@pytest.fixture
def cluster(pbs_commands: Path) -> Path:
    """A stand-in for PBS whose hosts have the mpiexec of PALS, in a stand-in too."""
    stand_in_for_pals(pbs_commands / "bin")
    return pbs_commands


def is_up() -> bool:
    return the_run().state == "active" and penstock("logs", "solver").stdout.count("is up") == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--on", "pbs", "--nodes", "2"], "--on pbs needs --nodes N and --time"),
        (["--on", "pbs", "--nodes", "2", "--time", "5"], "--on pbs needs --per-node ncpus=N"),
        (["--per-node", "ncpus=2"], "give --on too"),
        ([*ON, "--hosts", "a:2"], "PBS chooses the hosts"),
        ([*ON, "--qsub=-lwalltime=9"], "is given by Penstock"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_made(
    toy: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = penstock("run", "toy", *arguments)
    assert done.returncode == 2 and named in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--qsub=-q nope",), "`qsub -h` was refused: qsub: Unknown queue"),
        (("--qsub=-z",), "illegal option -- z"),
    ],
)
def test_what_qsub_refuses_leaves_no_run(toy: Path, cluster: Path, more: tuple[str, ...], named: str) -> None:
    done = penstock("run", "toy", *ON, *more)
    assert done.returncode == 1 and named in done.stderr
    assert all_runs() == []


def test_without_qsub_it_says_what_is_missing(toy: Path, tmp_path: Path) -> None:
    done = penstock("run", "toy", *ON, env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 1 and "there is no qsub on PATH: this host has no PBS" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_submitted_run_is_followed_to_its_end(toy: Path, cluster: Path) -> None:
    done = penstock("run", "toy", *ON, "--set", "then=echo done", "--qsub=-A me")
    assert done.returncode == 0, done.stderr
    assert f"submitted {the_run().run_id} as job 1.stand-in" in done.stderr
    assert (the_run().directory / "batch.sh").read_text() == done.stdout
    followed = penstock("logs", "batch", "-f")
    assert "the driver is up\n" in followed.stdout, followed.stderr
    assert followed.stdout.endswith("the driver is over\n")
    run = shown()
    assert (run["state"], run["error"], run["scheduler"]) == ("completed", None, "pbs")
    assert sorted(penstock("logs", "solver").stdout.splitlines()) == [
        "done",
        "done",
        "rank 0 of job 1.stand-in is up",
        "rank 1 of job 1.stand-in is up",
    ]
    assert [rank["host"] for rank in run["jobs"][0]["ranks"]] == [os.uname().nodename, "localhost"]
    assert penstock("ps").stdout == "no run is active\n"


def test_a_run_that_waits_shows_why_and_can_be_stopped(toy: Path, cluster: Path) -> None:
    (cluster / "full").touch()
    penstock("run", "toy", *ON)
    run = shown()
    assert (run["state"], run["job"]["state"], run["driver"]) == ("queued", "QUEUED", None)
    text = penstock("ps").stdout
    assert f"{run['run']}  queued" in text
    assert "job 1.stand-in is queued: Not Running: Insufficient amount of resource: ncpus (R: 2" in text
    assert penstock("stop").stdout == f"stopped {run['run']}\n"
    assert (shown()["state"], shown()["error"]) == ("canceled", "it was stopped before its driver could")
    assert list((cluster / "jobs").iterdir()) == []


def test_an_active_run_is_stopped_in_order(toy: Path, cluster: Path) -> None:
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: the_run().record.jobs and is_up())
    assert penstock("stop").stdout == f"stopped {the_run().run_id}\n"
    assert the_run().state == "interrupted"
    assert {job.state for job in the_run().record.jobs} == {"canceled"}
    until(lambda: not list((cluster / "jobs").iterdir()))


def test_a_driver_on_another_host_is_told_to_end_through_pbs(
    toy: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this were the login node, and the driver's host another."""
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: [job.state for job in the_run().record.jobs] == ["active"] and is_up())
    record = the_run().directory / "run.json"
    record.write_text(
        record.read_text().replace(f'"host": "{os.uname().nodename}",\n  "dir', '"host": "n1",\n  "dir')
    )
    assert not the_run().is_here and the_run().alive
    assert penstock("stop").stdout == f"stopped {the_run().run_id}\n"
    assert the_run().state == "interrupted"
    until(lambda: not list((cluster / "jobs").iterdir()))


def test_a_job_that_was_deleted_by_hand_ends_in_order(toy: Path, cluster: Path) -> None:
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: the_run().record.jobs and is_up())
    os.spawnlp(os.P_WAIT, "qdel", "qdel", the_run().record.batch or "")
    until(lambda: the_run().state == "interrupted")
    until(lambda: not list((cluster / "jobs").iterdir()))


def test_a_killed_driver_takes_its_job_and_programs_along(
    toy: Path, cluster: Path, gone: Callable[..., None]
) -> None:
    penstock("run", "toy", *ON, *FOREVER)
    until(lambda: the_run().record.jobs and is_up())
    run = the_run()
    assert run.record.driver is not None and run.record.jobs[0].pid is not None
    os.kill(run.record.driver.pid, signal.SIGKILL)
    gone(run.record.jobs[0].pid)
    until(lambda: not list((cluster / "jobs").iterdir()))
    assert the_run().state == "lost"
    assert "cleaned up" in penstock("stop").stdout
    assert (shown()["state"], shown()["error"]) == ("failed", "the driver was killed")


def test_a_driver_that_never_comes_to_its_experiment_is_lost(toy: Path, cluster: Path) -> None:
    (toy / "run.py").write_text("def main(config, *, launcher, run_dir):\n    raise LookupError('of ours')\n")
    penstock("run", "toy", *ON)
    assert "LookupError: of ours" in penstock("logs", "batch", "-f").stdout
    assert shown()["state"] == "lost"
    assert "job 1.stand-in ended before its driver had started" in penstock("stop").stdout


def test_programs_without_ranks_on_one_host_need_no_mpiexec(
    pbs_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "taskset"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with Experiment("e") as exp:
        assert exp.preview().launcher == "pbs (no mpiexec), job 7.stand-in"
        alone = Application("alone", ["sh", "-c", "echo up"], resources=Resources(cores=1))
        exp.wait(exp.start(alone))
        with pytest.raises(MpiError, match="no mpiexec or mpirun on PATH: install MPICH or Open MPI, or say"):
            exp.start(Application("ranks", ["sh"], resources=Resources(ranks=1)))


def test_a_given_mpiexec_is_that_of_the_job(pbs_job: Path, toy: Path, tmp_path: Path) -> None:
    mpiexec = stand_in_for_pals(tmp_path)
    done = penstock("run", "toy", "--preview", "--mpiexec", mpiexec, "--hosts", "a:2,b:2")
    assert "toy: 1 program by the launcher pbs (pals 1.2.12), job 7.stand-in, on 2 hosts" in done.stdout
    assert f"{mpiexec} --hosts a,b --ppn 1" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_experiment_runs_unchanged(cluster: Path) -> None:
    hello = str(ROOT / "experiments" / "sine_hello")
    done = penstock("run", hello, "--on", "pbs", "--nodes", "1", "--time", "10", "--per-node", "ncpus=2")
    assert done.returncode == 0, done.stderr
    until(lambda: shown()["state"] not in ("queued", "active"), 240)
    assert (shown()["state"], shown()["error"]) == ("completed", None)
    assert json.loads((the_run().directory / "result.json").read_text())["passed"]


def test_before_the_end_of_a_job_the_run_ends_in_order(
    pbs_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.strftime("%a %b %d %H:%M:%S %Y")
    stand_in_for_pals(tmp_path)
    (tmp_path / "qstat").write_text(
        f"#!/bin/sh\necho 'Job Id: 7.stand-in'; echo '    stime = {began}'\n"
        "echo '    Resource_List.walltime = 01:00:02'\n"
    )
    (tmp_path / "qstat").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = r"3600 s before the end of the allocation 7\.stand-in"
    with pytest.raises(TimeOver, match=told), Experiment("e", stop_before_s=3600) as exp:
        exp.start(Application("long", ["sleep", "1000"]))
        exp.wait()


def test_in_a_job_programs_are_placed_on_its_hosts(
    pbs_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for_pals(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    here = os.uname().nodename
    pbs_job.write_text(f"{here}\nelsewhere.invalid\n" * 2)
    monkeypatch.setenv("PENSTOCK_GPUS_PER_HOST", "1")
    with Experiment("e") as exp:
        shown = exp.preview(Application("solver", ["true"], resources=Resources(nodes=2, gpus=1)))
        assert shown.launcher == "pbs (pals 1.2.12), job 7.stand-in"
        (program,) = shown.programs
        assert f"{tmp_path}/mpiexec --hosts {here},elsewhere.invalid --ppn 1 --cpu-bind none -n 2 env" in str(
            shown
        )
        assert program.launch.placement is not None
        assert [rank.gpus for rank in program.launch.placement.ranks] == [(0,), (0,)]
        job = exp.start(Application("alone", ["sh", "-c", "echo $PBS_JOBID; sleep 0.2"]))
        with pytest.raises(WaitTimeout):
            job.wait(0.01)
        job.wait(30)
        assert job.log.read_text() == "7.stand-in\n"
        assert re.match("taskset|sh", Path(job.command[0]).name)
