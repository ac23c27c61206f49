"""What of a job array is damaged is named, and hides no other run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.submit_array import submit_again
from orchestrator.element import main
from orchestrator.errors import ResumeError, RunError
from orchestrator.record import all_runs, run_at
from tests.unit.orchestrator.array_runs import Slurm, array_run, member, tell


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"array": "x"}, "array: Input should be a valid integer"),
        ({"array": 0}, "array: Input should be greater than 0"),
        ({"batch": None}, "a job array has the number of its job"),
        ({"jobs": []}, "a job array has members"),
        ({"jobs": [member("m_0", element=None)]}, "a job array has members, each with its element"),
        ({"jobs": [member("m_0", pid=-1)]}, "jobs.0.pid: Input should be greater than 0"),
        ({"jobs": 3}, "jobs: Input should be a valid list"),
    ],
)
def test_a_record_that_cannot_be_of_an_array_hides_no_other(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], named: str
) -> None:
    other = array_run(tmp_path / "other")
    damaged = array_run(tmp_path / "run", **facts)
    assert [run.run_id for run in all_runs()] == [other.run_id]
    said = capsys.readouterr().err
    assert f"the record of the run in {damaged.directory} is damaged: " in said and named in said


@pytest.mark.parametrize(
    ("text", "named"),
    [(b'{"array": 3}', "run: Field required"), (b"[" * 200_000, "cannot be read: maximum recursion depth")],
)
def test_a_record_that_is_anything_is_named(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, named: str
) -> None:
    array_run(tmp_path / "run").record.write_bytes(text)
    assert all_runs() == []
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [b"\xff", b"3", b'{"name": "m_0"}', b"[" * 200_000, json.dumps(member("m_0", ended="x")).encode()]
)
def test_what_an_element_tells_may_be_anything(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes
) -> None:
    other, damaged = array_run(tmp_path / "other"), array_run(tmp_path / "run")
    (damaged.directory / "elements" / "1.jsonl").write_bytes(line + b"\n")
    assert [run.run_id for run in all_runs()] == [other.run_id]
    told = re.escape(f"what the element 1 of the run in {damaged.directory} tells is damaged: ")
    assert re.search(told, capsys.readouterr().err)


def test_an_array_whose_script_is_gone_is_not_submitted_again(slurm: Slurm, tmp_path: Path) -> None:
    files = array_run(tmp_path / "run")
    run = run_at(files.directory)
    files.batch_script.unlink()
    with pytest.raises(ResumeError, match="cannot be resumed: what was submitted cannot be read"):
        submit_again(run)
    assert slurm.asked("sbatch") == []


@pytest.mark.parametrize("line", ["3", '{"name": "m_0"}', "[" * 200_000])
def test_members_may_be_anything(
    slurm: Slurm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
) -> None:
    files = array_run(tmp_path / "run")
    tell(files, "m_1", "failed")
    (files.directory / "members.jsonl").write_text(f"{line}\n")
    named = f"the members of the run in {files.directory} cannot be read: "
    with pytest.raises(RunError, match=re.escape(named)):
        submit_again(run_at(files.directory))
    assert slurm.asked("sbatch") == []
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert main(str(files.directory), "2") == 1
    assert named in capsys.readouterr().err


def test_what_an_element_does_not_know_stays_as_it_was_submitted(slurm: Slurm, tmp_path: Path) -> None:
    """As the input files, which were laid before."""
    laid = [{"target": "run.cfg", "source": "/home/me/run.cfg"}]
    jobs = [member(name, element=0, files=laid) for name in ("m_0", "m_1", "m_2")]
    files = array_run(tmp_path / "run", jobs=jobs)
    tell(files, "m_0", "completed")
    job = run_at(files.directory).record.jobs[0]
    assert (job.state, job.files) == ("completed", laid)
