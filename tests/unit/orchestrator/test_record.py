"""The record of a run, read while its driver writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator import record
from orchestrator.cli.stop import clean_up
from orchestrator.errors import RunError
from orchestrator.record import Known, find_run, run_at
from orchestrator.run_files import RunFiles
from orchestrator.schedulers.base import JobStatus
from orchestrator.schedulers.slurm import SlurmScheduler
from orchestrator.schedulers.table import SCHEDULERS


class Asked(SlurmScheduler):
    """A scheduler without jobs; something happens whenever it is asked."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens = happens

    def jobs(self) -> Mapping[str, JobStatus]:
        self._happens()
        return {}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFiles:
    """A run whose driver is a batch job on another host."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    files = RunFiles.plan("toy", tmp_path / "run")
    files.directory.mkdir()
    facts = {"run": files.run_id, "experiment": "toy", "state": "active", "error": None, "host": "elsewhere"}
    facts |= {"directory": str(files.directory), "runtime": str(files.runtime), "batch": "7", "address": None}
    facts |= {"started": 1.0, "ended": None, "driver": {"pid": 1, "start_time": 1}, "jobs": []}
    files.write_record(json.dumps(facts))
    return files


def test_who_ends_while_the_scheduler_is_asked_is_not_lost(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`penstock stop` would write another end over that of the driver."""

    def end() -> None:
        ended = {**json.loads(files.record.read_text()), "state": "interrupted", "ended": 2.0}
        files.write_record(json.dumps(ended))

    monkeypatch.setitem(SCHEDULERS, "slurm", Asked(end))
    assert run_at(files.directory).state == "interrupted"


def test_who_went_without_a_word_is_lost(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULERS, "slurm", Asked(lambda: None))
    assert run_at(files.directory).state == "lost"


def test_the_job_that_asks_needs_no_scheduler(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        raise AssertionError("asked")

    monkeypatch.setitem(SCHEDULERS, "slurm", Asked(ask))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert run_at(files.directory).state == "active"


def test_who_was_on_another_host_has_left_nothing_on_this_one(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of its processes are somebody else's here."""

    def sweep(run_id: str, sessions: object) -> set[int]:
        raise AssertionError("swept")

    monkeypatch.setitem(SCHEDULERS, "slurm", Asked(lambda: None))
    monkeypatch.setattr("orchestrator.cli.stop.end_leftovers", sweep)
    assert "nothing of it ran" in clean_up(run_at(files.directory))
    assert run_at(files.directory).state == "failed"


@pytest.fixture
def of_waves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make runs of these ids and states the known ones."""

    def known(left_out: Sequence[str] = (), **states: str) -> None:
        runs = [SimpleNamespace(run_id=name, state=state, alive=False) for name, state in states.items()]
        monkeypatch.setattr(record, "known_runs", lambda: Known(runs, list(left_out)))

    return known


def test_the_only_one_that_has_not_ended_is_meant(of_waves: Callable[..., None]) -> None:
    of_waves(wave_20="completed", wave_21="active", wave_22="failed", heat="active")
    assert find_run("wave", unended=True).run_id == "wave_21"
    with pytest.raises(RunError, match="'wave' is the beginning of: wave_20, wave_21, wave_22"):
        find_run("wave")


def test_of_several_that_have_not_ended_none_is_meant(of_waves: Callable[..., None]) -> None:
    of_waves(wave_20="completed", wave_21="active", wave_22="lost")
    with pytest.raises(RunError, match="is the beginning of: wave_21, wave_22"):
        find_run("wave", unended=True)
    of_waves(["wave_23"], wave_20="completed", wave_21="active")
    with pytest.raises(RunError, match="is the beginning of: wave_21, wave_23"):
        find_run("wave", unended=True)


def test_a_whole_id_is_the_run_that_has_ended(of_waves: Callable[..., None]) -> None:
    of_waves(wave="completed", wave_r1="active")
    assert find_run("wave", unended=True).run_id == "wave"
    assert find_run("wave_r", unended=True).run_id == "wave_r1"
