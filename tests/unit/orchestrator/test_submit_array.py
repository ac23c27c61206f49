"""A job array that is submitted again: by one at a time, and whatever happens meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.cli.submit_array import submit_again
from orchestrator.errors import ResumeError
from orchestrator.record import run_at
from orchestrator.run_files import read_record, take_lock
from tests.unit.orchestrator.array_runs import Slurm, array_run, tell


def test_what_is_left_is_submitted_again(slurm: Slurm, tmp_path: Path) -> None:
    files = array_run(tmp_path / "run")
    tell(files, "m_0", "completed")
    tell(files, "m_1", "failed")
    submit_again(run_at(files.directory))
    assert slurm.asked("sbatch", "scontrol") == ["sbatch --parsable --hold", "scontrol release 8"]
    record = read_record(files.directory)
    assert record["batch"] == "8"
    assert [job["state"] for job in record["jobs"]] == ["completed", "queued", "queued"]


def test_of_two_at_once_one_submits_it(slurm: Slurm, tmp_path: Path) -> None:
    files = array_run(tmp_path / "run")
    run = run_at(files.directory)
    held = take_lock(files.resume_lock)
    with pytest.raises(ResumeError, match="another process goes on with the run in"):
        submit_again(run)
    os.close(held)
    submit_again(run)
    slurm.does("squeue", "echo '0|PENDING|JobHeldUser'")
    with pytest.raises(ResumeError, match="cannot be resumed: it is queued"):
        submit_again(run)  # it was looked at before the other had submitted it
    assert len(slurm.asked("sbatch")) == 1
