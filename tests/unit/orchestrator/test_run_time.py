"""When a run must end, and what cannot be."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from orchestrator import Experiment
from orchestrator.errors import UsageError
from orchestrator.run_time import RunTime
from orchestrator.schedulers import slurm
from orchestrator.slurm import read_end


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"time_limit_s": 0}, "time_limit_s=0"),
        ({"time_limit_s": "1"}, "time_limit_s='1'"),
        ({"time_limit_s": float("inf")}, "time_limit_s=inf"),
        ({"stop_before_s": -1}, "stop_before_s=-1"),
        ({"stop_before_s": True}, "stop_before_s=True"),
        ({"time_limit_s": 5, "stop_before_s": 5}, "nothing is left"),
    ],
)
def test_what_cannot_be_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Experiment("e", **wrong)


def test_another_thread_could_not_be_told() -> None:
    errors: list[Exception] = []

    def begin() -> None:
        try:
            RunTime(time_limit_s=5).begin()
        except UsageError as error:
            errors.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_an_allocation_that_is_nearly_over_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm, "end_of", lambda job: time.time() + 30)
    with pytest.raises(UsageError, match="no time left: 60 s before the end of the allocation 7, at 2"):
        RunTime(stop_before_s=60).begin()


def test_without_any_end_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    RunTime(stop_before_s=60).begin()
    assert "nothing is stopped" in capsys.readouterr().err


def test_an_allocation_that_is_prolonged_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    ends = [time.time() + 0.3, time.time() + 1000]

    def end_of(job: str) -> float:
        if len(ends) == 1:
            asked.set()
        return ends.pop(0) if len(ends) > 1 else ends[0]

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm, "end_of", end_of)
    running = RunTime(stop_before_s=0.1)
    running.begin()
    running.watch()
    assert asked.wait(10)
    running.stop()
    assert running.over is None


def test_the_end_that_slurm_tells() -> None:
    local = "2026-11-26T12:00:00"
    seconds = time.mktime(time.strptime(local, "%Y-%m-%dT%H:%M:%S"))
    assert read_end(f"JobId=1 StartTime=2026-11-26T11:00:00 EndTime={local} Deadline=N/A") == seconds
    assert read_end(f"JobId=1 EndTime=Unknown\nJobId=2 EndTime={local}") == seconds
    assert read_end("JobId=1 EndTime=Unknown Deadline=N/A") is None


def test_who_has_stopped_is_told_nothing_although_the_scheduler_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answer = threading.Event(), threading.Event()
    end = time.time() + 0.3

    def end_of(job: str) -> float:
        if time.time() > end - 0.2:
            asked.set()
            assert answer.wait(60)
        return end

    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm, "end_of", end_of)
    running = RunTime(stop_before_s=0.1)
    running.begin()
    running.watch()
    assert asked.wait(60)
    stopping = threading.Thread(target=running.stop)
    stopping.start()
    assert running._stopped.wait(60)
    answer.set()  # the time is over, but the run has been
    stopping.join(60)
    assert not stopping.is_alive() and running.over is None
