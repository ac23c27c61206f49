"""When the record of a run is written, and that what is written is all there is to know."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from orchestrator import recording
from orchestrator.errors import RunError
from orchestrator.launchers.base import Job, Launch
from orchestrator.recording import RunRecord
from orchestrator.run_files import RunFiles, read_record


class Counted(RunFiles):
    """Files that count how often the record is written, and can be told to fail."""

    texts: list[str]
    failing: bool = False

    def write_record(self, text: str) -> None:
        if self.failing:
            raise RunError("the record of the run cannot be written: the disk is full")
        self.texts.append(text)
        super().write_record(text)


@pytest.fixture
def files(tmp_path: Path) -> Counted:
    files = Counted("id", tmp_path, tmp_path / "rt")
    object.__setattr__(files, "texts", [])
    return files


def job(number: int) -> Job:
    """A program that no launcher knows."""
    return Job(Launch(f"j_{number}", ["true"], Path("/"), Path("/log"), {}), lambda number: None)


def test_a_thousand_ends_are_few_writes_and_none_is_lost(files: Counted) -> None:
    record = RunRecord("e", files)
    jobs = [job(number) for number in range(1000)]
    record.add(jobs)
    for each in jobs:
        each.report_started(None)
        record.touch()
        each.report_ended(0)
        record.touch()
    record.close(state="completed")
    assert len(files.texts) < 100
    told = read_record(files.directory)
    assert told["state"] == "completed" and len(told["jobs"]) == 1000
    assert {(each["state"], each["returncode"]) for each in told["jobs"]} == {("completed", 0)}


def test_a_change_is_written_although_nobody_asks_again(files: Counted) -> None:
    record = RunRecord("e", files)
    record.write()
    changing = job(0)
    record.add([changing])
    while "j_0" not in files.texts[-1]:
        threading.Event().wait(0.01)
    record.close()


def test_writes_are_not_closer_than_their_interval(files: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an interval of an hour only what is asked for by name is written."""
    monkeypatch.setattr(recording, "INTERVAL_S", 3600.0)
    record = RunRecord("e", files)
    record.write()
    for number in range(50):
        record.add([job(number)])
    assert len(files.texts) == 1
    record.flush()
    record.flush()
    assert len(files.texts) == 2 and len(json.loads(files.texts[-1])["jobs"]) == 50
    record.close()
    assert len(files.texts) == 3


def test_one_program_is_one_line(files: Counted) -> None:
    record = RunRecord("e", files)
    record.write()
    assert json.loads(files.texts[-1])["jobs"] == []
    record.add([job(0), job(1)])
    record.close()
    assert sum("j_" in line for line in files.texts[-1].splitlines()) == 2


def test_a_full_disk_ends_neither_the_thread_nor_the_run(
    files: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    record = RunRecord("e", files)
    object.__setattr__(files, "failing", True)
    record.add([job(0)])
    record.flush()
    object.__setattr__(files, "failing", False)
    record.add([job(1)])
    record.close()
    assert len(read_record(files.directory)["jobs"]) == 2
    assert "cannot be written: the disk is full" in capsys.readouterr().err
    object.__setattr__(files, "failing", True)
    with pytest.raises(RunError, match="full"):
        record.write()
