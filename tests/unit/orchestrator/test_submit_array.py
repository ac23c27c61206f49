"""A job array that is submitted again: by one at a time, and whatever happens meanwhile."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from orchestrator.cli.submit_array import submit_again
from orchestrator.element import main
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


def test_what_an_earlier_array_told_counts_no_more(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever submits it again may be killed before it has removed that."""
    files = array_run(tmp_path / "run")
    tell(files, "m_1", "failed")
    monkeypatch.setattr("orchestrator.cli.submit_array.forget_events", lambda directory: None)
    submit_again(run_at(files.directory))
    slurm.does("squeue", "printf '0|PENDING|JobHeldUser\\n1|PENDING|JobHeldUser\\n'")
    run = run_at(files.directory)
    assert {job.state for job in run.record.jobs} == {"queued"}
    tell(files, "m_1", "completed", "8")
    assert [job.state for job in run.again().record.jobs] == ["queued", "completed", "queued"]


def test_an_element_of_an_array_that_the_run_has_left_runs_nothing(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = array_run(tmp_path / "run")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "6")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert main(str(files.directory), "2") == 1
    assert "is in the job 7: this element of the job 6 runs nothing" in capsys.readouterr().err


def test_an_element_without_a_place_on_its_host_says_so(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = array_run(tmp_path / "run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/null")
    monkeypatch.setattr("os.access", lambda path, mode: True)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert main(str(files.directory), "2") == 1
    assert re.search("penstock: .*Not a directory: '/dev/null/penstock-", capsys.readouterr().err)
