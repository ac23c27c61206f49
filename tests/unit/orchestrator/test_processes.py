"""Processes of this host: who each is, as the watcher and the record know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import StartFailed
from orchestrator.launchers import processes
from orchestrator.launchers.base import Launch
from orchestrator.launchers.processes import Processes
from orchestrator.watcher import Session, read_stat, ticks_since_boot


@pytest.fixture
def told():
    return []


@pytest.fixture
def started(told):
    started = Processes(told.append)
    yield started
    started.close()


def launch(directory: Path, *command: str) -> Launch:
    return Launch("job", command or ("sleep", "1000"), directory, directory / "log.txt", {})


def test_who_cannot_be_started_is_told_of_to_nobody(
    started: Processes, told: list[Session], tmp_path: Path
) -> None:
    with pytest.raises(StartFailed, match="/nowhere/solver"):
        started.start(launch(tmp_path, "/nowhere/solver"))
    assert told == []


@pytest.mark.parametrize("late", [False, True])
def test_a_process_is_told_of_by_its_number_and_the_tick_of_its_start(
    started: Processes, told: list[Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """By the clock, and by /proc where the clock has gone on meanwhile; that is one and the same."""
    if late:
        ticks = iter(range(100))
        monkeypatch.setattr(processes, "ticks_since_boot", lambda: next(ticks))
    jobs = [started.start(launch(tmp_path)) for _ in range(10)]
    by_proc = [Session(job.pid, read_stat(job.pid).start_time) for job in jobs]
    assert told == by_proc == [(job.pid, job.start_time) for job in jobs]
    assert max(session.start_time for session in told) <= ticks_since_boot()
    for job in jobs:
        job.stop()
