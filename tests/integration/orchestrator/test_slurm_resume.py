"""Runs that ended early and are submitted to Slurm to go on; the login node is this host."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orchestrator.record import Run
from orchestrator.run_files import read_record
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until
from tests.integration.orchestrator.submitted import the_run

pytestmark = pytest.mark.slurm

RUN = """
from orchestrator import Application, Ensemble, Experiment, Resources

MEMBER = '''
run=$PENSTOCK_RUN_DIR
echo start >> starts
if [ {n} = 1 ]; then while [ ! -e "$run/go" ]; do sleep 0.05; done; fi
'''

def main(config, *, launcher, run_dir):
    with Experiment("toy", launcher=launcher, run_dir=run_dir) as exp:
        print("the driver is up")
        one = Resources(nodes=1) if config["ranks"] else Resources()
        exp.start(Ensemble("m", ["sh", "-c", MEMBER], grid={"n": [0, 1]}, resources=one))
        exp.wait()
"""
ON = ("--on", "slurm", "--nodes", "2", "--time", "10")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """An experiment of two members, of which the second ends when it is let go."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "run.py").write_text(RUN)
    (tmp_path / "toy" / "config.toml").write_text("ranks = true\n")
    return tmp_path / "toy"


def is_half_done() -> bool:
    states = {job.name: job.state for job in the_run().record.jobs}
    begun = (the_run().directory / "m_1" / "starts").exists()
    return begun and states == {"m_0": "completed", "m_1": "active"}


def starts(run: Run) -> dict[str, int]:
    return {file.parent.name: file.read_text().count("start") for file in run.directory.glob("*/starts")}


@pytest.fixture
def lost(toy: Path, slurm: SlurmNodes) -> Run:
    """A run whose first member has completed, and whose driver, a batch job, was killed."""
    done = penstock("run", "toy", *ON)
    assert done.returncode == 0, done.stderr
    until(is_half_done)
    driver = the_run().record.driver
    assert driver is not None
    os.kill(driver.pid, signal.SIGKILL)
    until(lambda: not slurm.command("squeue", "--noheader"))
    assert the_run().state == "lost"
    return the_run()


def test_a_lost_run_goes_on_as_a_batch_job(lost: Run) -> None:
    done = penstock("run", "--resume", lost.run_id, *ON, "--sbatch=--comment=again")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --comment=again" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(f" run --resume={lost.directory}")
    assert f"submitted {lost.run_id}-r1 as job " in done.stderr
    (lost.directory / "go").touch()
    assert "the driver is up" in penstock("logs", "batch", "-f").stdout
    run = the_run()
    assert (run.run_id, run.state, run.record.host) == (f"{lost.run_id}-r1", "completed", "n1")
    assert starts(run) == {"m_0": 1, "m_1": 2}
    record = read_record(run.directory)
    assert [past["run"] for past in record["resumed"]] == [lost.run_id]
    assert record["resumed"][0]["state"] == "failed" and "before" not in record
    kept = {path.name for path in run.directory.glob("*batch.*")}
    assert kept == {"batch.sh", "batch.log", f"{lost.run_id}.batch.sh", f"{lost.run_id}.batch.log"}


def test_a_run_that_began_here_goes_on_as_a_batch_job(toy: Path, slurm: SlurmNodes) -> None:
    (toy / "config.toml").write_text("ranks = false\n")
    done = penstock("run", "toy", "--time-limit", "2")
    assert done.returncode == 1 and the_run().state == "out_of_time", done.stderr
    (the_run().directory / "go").touch()
    assert penstock("run", "--resume", the_run().directory, *ON).returncode == 0
    until(lambda: the_run().state not in ("queued", "active"))
    assert the_run().state == "completed" and starts(the_run()) == {"m_0": 1, "m_1": 2}


def test_until_its_job_begins_it_can_be_stopped_and_is_what_it_was(lost: Run, slurm: SlurmNodes) -> None:
    slurm.allocate()
    penstock("run", "--resume", lost.run_id, *ON)
    until(lambda: "pending: Resources" in penstock("ps").stdout)
    assert (the_run().run_id, the_run().state) == (f"{lost.run_id}-r1", "queued")
    again = penstock("run", "--resume", the_run().run_id, *ON)
    assert again.returncode == 1 and "cannot be resumed: it is queued" in again.stderr
    assert penstock("stop").stdout == f"stopped {lost.run_id}-r1\n"
    run = the_run()
    assert (run.state, run.record.error, run.resumable) == ("failed", "the driver was killed", True)
    assert [job.state for job in run.record.jobs] == ["completed", "canceled"]
    (run.directory / "go").touch()
    assert penstock("run", "--resume", run.run_id).returncode == 0  # here
    assert the_run().run_id == f"{lost.run_id}-r2" and starts(the_run()) == {"m_0": 1, "m_1": 2}


def test_a_job_canceled_by_hand_leaves_it_resumable(lost: Run, slurm: SlurmNodes) -> None:
    slurm.allocate()
    penstock("run", "--resume", lost.run_id, *ON)
    slurm.command("scancel", the_run().record.batch or "")
    until(lambda: the_run().state == "lost")
    slurm.release()
    assert penstock("run", "--resume", the_run().run_id, *ON).returncode == 0
    (lost.directory / "go").touch()
    until(lambda: the_run().state == "completed")
    assert starts(the_run()) == {"m_0": 1, "m_1": 2}


def test_what_slurm_refuses_leaves_the_run_as_it_was(lost: Run) -> None:
    penstock("stop")
    before = read_record(lost.directory)
    done = penstock("run", "--resume", lost.run_id, "--on", "slurm", "--nodes", "9", "--time", "10")
    assert done.returncode == 1 and "Slurm would not start this job" in done.stderr
    assert read_record(lost.directory) == before and the_run().run_id == lost.run_id
    assert not list(lost.directory.glob(f"{lost.run_id}.*"))
    for wrong in (["--quick"], ["--preview"], ["--hosts", "a:2"], ["toy"]):
        done = penstock("run", "--resume", lost.run_id, *ON, *wrong)
        assert done.returncode == 2, wrong
