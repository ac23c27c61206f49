"""A run whose time is over ends in order, and says why."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, JobState, Orchestrator
from orchestrator.errors import TimeOver, UsageError
from orchestrator.record import all_runs
from orchestrator.run_files import read_record
from orchestrator.run_time import RunTime
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import Driver
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until

DEADLINE_S = 60.0


def test_at_its_limit_a_run_ends_in_order_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.time()
    told = r"1 s before its limit of 2 s, at \d{4}-"
    limit = Experiment("e", time_limit_s=2, stop_before_s=1)
    with pytest.raises(TimeOver, match=told) as caught, limit as exp:
        db = exp.start(Orchestrator(module=()))
        job = exp.start(Application("a", ["sleep", "1000"]), database=db)
        exp.wait(timeout_s=DEADLINE_S)
    assert 0.9 < time.time() - began < 10 and caught.value.end == pytest.approx(began + 2, abs=1)
    assert job.state is JobState.CANCELED
    record = read_record(exp.run_dir)
    assert record["state"] == "out_of_time" and "its limit of 2 s" in record["error"]
    assert "it is ended in order" in capfd.readouterr().err
    (shown,) = json.loads(penstock("ps", "--all", "--json").stdout)
    assert shown["state"] == "out_of_time"


def test_wherever_the_driver_is() -> None:
    with pytest.raises(TimeOver), Experiment("e", time_limit_s=0.5) as exp:
        exp.start(Application("a", ["sleep", "1000"]))
        time.sleep(DEADLINE_S)


# The time may be over while Python reads a directory, which then is closed by the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("limit_s", [0.0001, 0.001, 0.002, 0.004, 0.008, 0.016])
def test_at_any_moment_of_its_start(limit_s: float, tmp_path: Path) -> None:
    with (
        pytest.raises((TimeOver, UsageError), match="its limit of"),
        Experiment("e", run_dir=tmp_path / "run", time_limit_s=limit_s) as exp,
    ):
        exp.start(Application("a", ["sleep", "1000"]))
        exp.wait(timeout_s=DEADLINE_S)
    if (tmp_path / "run" / "run.json").exists():
        assert read_record(tmp_path / "run")["state"] == "out_of_time"
    else:
        assert all_runs() == []


def test_a_run_that_ends_before_is_not_told() -> None:
    with Experiment("e", time_limit_s=3) as exp:
        exp.start(Application("a", ["true"]))
        exp.wait(timeout_s=DEADLINE_S)
    assert read_record(exp.run_dir)["state"] == "completed"


def test_a_signal_of_others_is_still_an_interruption(driver: Callable[[str], Driver]) -> None:
    script = driver("""
        with Experiment("e", time_limit_s=1000) as exp:
            print(exp.run_dir, flush=True)
            exp.wait(exp.start(Application("a", ["sleep", "1000"])))
    """)
    script.line()
    script.signal(signal.SIGTERM)
    code, said = script.end()
    assert code != 0 and "ended by SIGTERM" in said


STUBBORN = r"""
    command = ["sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.1; done"]
    with Experiment("e", run_dir="run", checkpoint_s=1000, grace_s=1000) as exp:
        db = exp.start(Orchestrator(module=()))
        job = exp.start(Application("a", command), database=db)
        while "begun" not in (job.log.read_text() if job.log.exists() else ""):
            assert not job.wait_ended(0.01)
        print("begun", flush=True)
        exp.wait()
"""


@pytest.mark.parametrize(("second", "saved"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_who_says_it_twice_does_not_lose_the_save(
    driver: Callable[[str], Driver], home: Path, second: signal.Signals, saved: bool
) -> None:
    script = driver(STUBBORN)
    assert script.line() == "begun"
    script.signal(signal.SIGTERM)
    assert script.process.stderr is not None
    while "stopping everything" not in (line := script.process.stderr.readline()):
        assert line
    script.signal(second)
    code, said = script.end()
    assert code != 0 and "ended by" in said
    assert (home / "run" / "database" / "saved" / "1").is_dir() == saved
    assert ("then the databases are saved" in said) == saved


@pytest.mark.slurm
@pytest.mark.slow
def test_before_the_end_of_an_allocation(allocation: SlurmNodes) -> None:
    job = os.environ["SLURM_JOB_ID"]
    allocation.command("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    told = f"50 s before the end of the allocation {job}"
    with pytest.raises(TimeOver, match=told), Experiment("e", "slurm", stop_before_s=50) as exp:
        exp.start(Application("a", ["sleep", "1000"]))
        exp.wait(timeout_s=DEADLINE_S)


def test_who_cannot_wait_as_the_block_ends_still_gets_an_orderly_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So does the end of the time that comes at that moment, as the same signal."""
    stop, calls = RunTime.stop, []

    def interrupted(time_of_run: RunTime) -> None:
        calls.append(time_of_run)
        if len(calls) == 1:
            raise KeyboardInterrupt
        stop(time_of_run)

    trap = "trap 'echo ended > ended; exit 0' TERM; echo up > up; while :; do sleep 0.05; done"
    with pytest.raises(KeyboardInterrupt), Experiment("e") as exp:
        job = exp.start(Application("a", ["sh", "-c", trap]))
        until(lambda: (job.directory / "up").exists())
        monkeypatch.setattr(RunTime, "stop", interrupted)
    assert (job.directory / "ended").read_text() == "ended\n"
    assert job.state.final and read_record(exp.run_dir)["state"] == "interrupted"
