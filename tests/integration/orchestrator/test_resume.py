"""A run that ended before it was through goes on: after kill -9 of its driver, a Ctrl-C, a limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import Application, Ensemble, Experiment, LaunchOptions, Orchestrator, Resources
from orchestrator.cluster import key_within
from orchestrator.errors import ResumeError, RunError, UsageError
from orchestrator.record import Run, all_runs
from orchestrator.run_files import read_record, take_lock
from orchestrator.shard import Shard
from tests.integration.orchestrator.command import penstock
from tests.integration.servers import wait_until

DEADLINE_S = 60.0

RUN = """
import sys
from pathlib import Path
from orchestrator import *

HERE = Path(__file__).parent

def main(config, *, launcher, run_dir):
    with Experiment("e", launcher, run_dir=run_dir, **OPTIONS) as exp:
        db = exp.start(Orchestrator(DATABASE)) if config["database"] else None
        command = [sys.executable, HERE / "member.py", "{n}", str(config["extra"])]
        grid = {"n": list(range(config["members"]))}
        group = exp.start(Ensemble("m", command, grid=grid, resources=Resources(cores=1)), database=db)
        last = Application("last", [sys.executable, HERE / "member.py", "0", "0"])
        exp.start(last, database=db, after=group)
        exp.wait()
"""

# Notes that it was started. The first two end by themselves, the others when a file says go.
MEMBER = """
import os, signal, socket, sys, time
from pathlib import Path
with open("starts", "a") as file:
    file.write("s")
run = Path(os.environ["PENSTOCK_RUN_DIR"])
deadline = time.monotonic() + 100
while int(sys.argv[1]) > 1 and not (run / "go").exists():
    if time.monotonic() > deadline:
        sys.exit("nobody let this program end")
    time.sleep(0.01)
if "SSDB" in os.environ:
    to = socket.socket(socket.AF_UNIX)
    to.connect(os.environ["SSDB"].removeprefix("unix://"))
    to.sendall(b"RPUSH results %s\\r\\n" % os.environ["PENSTOCK_NAME"].encode())
    answers = to.makefile("rb")
    assert answers.readline()[:1] == b":"
    if os.environ["PENSTOCK_NAME"] == "last":
        to.sendall(b"LRANGE results 0 -1\\r\\n")
        for _ in range(2 * int(answers.readline()[1:])):  # the length of each, and itself
            print(answers.readline().decode().strip())
"""


@pytest.fixture
def experiment(home: Path) -> Callable[..., Path]:
    """Make an experiment of four members and a program that comes after them."""

    def make(options: str = "{}", server: str = "module=()", **config: Any) -> Path:
        directory = home / "experiment"
        directory.mkdir(exist_ok=True)
        (directory / "run.py").write_text(RUN.replace("OPTIONS", options).replace("DATABASE", server))
        (directory / "member.py").write_text(MEMBER)
        values = {"members": 4, "extra": 0, "database": False, **config}
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        (directory / "config.toml").write_text("\n".join(lines) + "\n")
        return directory

    return make


@pytest.fixture
def start() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Run an experiment in a process of its own, which does not outlive the test."""
    drivers = []

    def begin(directory: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "orchestrator.cli", "run", str(directory)]
        drivers.append(subprocess.Popen(command, text=True, stderr=subprocess.PIPE))
        return drivers[-1]

    yield begin
    for driver in drivers:
        if driver.poll() is None:
            driver.kill()
        driver.communicate()


def await_run(condition: Callable[[Run], bool]) -> Run:
    """Wait until the run is as wanted."""
    deadline = time.monotonic() + DEADLINE_S
    while not (runs := all_runs()) or not condition(runs[0]):
        assert time.monotonic() < deadline, runs and runs[0].record
        time.sleep(0.02)
    return runs[0]


def states(run: Run) -> dict[str, str]:
    return {job.name: job.state for job in run.record.jobs}


def in_the_middle(run: Run) -> bool:
    """Two members have completed and two run."""
    begun = {file.parent.name for file in run.directory.glob("*/starts") if file.stat().st_size}
    return (
        begun >= {"m_2", "m_3"}
        and [states(run).get(f"m_{n}") for n in range(4)] == ["completed"] * 2 + ["active"] * 2
    )


def starts(run: Run) -> dict[str, int]:
    files = run.directory.glob("*/starts")
    return {file.parent.name: len(file.read_text()) for file in files}


def lives(run: Run) -> bool:
    """Tell whether a program of a run still lives; after a kill they are ended beside the driver."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PENSTOCK_RUN_DIR") == str(run.directory):
                return True
    return False


def resume(run: Run) -> tuple[int, str]:
    """Go on with a run whose programs have ended; those that go on may end."""
    wait_until(lambda: not lives(run), "the end of the programs that were begun")
    (run.directory / "go").touch()
    done = penstock("run", "--resume", run.run_id)
    return done.returncode, done.stderr


def end(driver: subprocess.Popen[str], number: signal.Signals) -> None:
    driver.send_signal(number)
    driver.wait(DEADLINE_S)


ONCE = {"m_0": 1, "m_1": 1, "m_2": 2, "m_3": 2, "last": 1}


@pytest.mark.parametrize(("number", "state"), [(signal.SIGKILL, "lost"), (signal.SIGINT, "interrupted")])
def test_finished_members_are_not_run_again(experiment, start, number: signal.Signals, state: str) -> None:
    driver = start(experiment())
    await_run(in_the_middle)
    end(driver, number)
    (run,) = all_runs()
    assert run.state == state and run.resumable
    shown = penstock("ps", "--all").stdout
    assert f"penstock run --resume {run.run_id}" in shown
    code, said = resume(run)
    assert code == 0, said
    (after,) = all_runs()
    assert after.run_id == f"{run.run_id}-r1" and after.directory == run.directory
    assert starts(after) == ONCE and after.state == "completed" and not after.resumable
    record = read_record(run.directory)
    told = {job["name"]: job for job in record["jobs"]}
    assert told["m_0"]["reason"] == "had completed when the run was resumed"
    assert told["m_0"]["ended"] < record["started"] < told["m_2"]["started"]
    assert [past["run"] for past in record["resumed"]] == [run.run_id]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("database", ["module=()", "module=(), config=RedisConfig(append_only=True)"])
def test_the_database_comes_back(experiment, start, number: signal.Signals, database: str) -> None:
    driver = start(experiment("{'checkpoint_s': 0.2}", database, database=True))
    run = await_run(in_the_middle)
    if "append_only" not in database:
        await_saved(run, max(job.ended or 0 for job in run.record.jobs))
    end(driver, number)
    code, said = resume(run)
    assert code == 0, said
    (after,) = all_runs()
    assert starts(after) == ONCE
    log = (run.directory / "last" / "log.txt").read_text()
    assert sorted(word for word in log.split() if word.startswith("m_")) == ["m_0", "m_1", "m_2", "m_3"]


def await_saved(run: Run, moment: float) -> None:
    """Wait until the database was saved after a moment."""
    deadline = time.monotonic() + DEADLINE_S
    while not any(
        json.loads(file.read_text())["saved"] > moment
        for file in run.directory.glob("database/saved/[0-9]*/saved.json")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_a_saved_database_its_programs_run_again(experiment, start) -> None:
    driver = start(experiment(database=True))
    run = await_run(in_the_middle)
    end(driver, signal.SIGKILL)
    code, said = resume(run)
    assert code == 0, said
    assert "database was never saved: it begins empty, and programs that use it run again" in said
    assert starts(all_runs()[0]) == {"m_0": 2, "m_1": 2, "m_2": 2, "m_3": 2, "last": 1}


def test_at_its_limit_the_databases_are_saved(experiment, start) -> None:
    driver = start(experiment("{'time_limit_s': 4}", database=True))
    assert driver.wait(DEADLINE_S) == 1
    run = await_run(lambda run: run.state == "out_of_time")
    assert states(run)["m_0"] == "completed" and states(run)["last"] == "canceled"
    (run.directory / "go").touch()
    run_py = run.record.source.experiment / "run.py"
    run_py.write_text(run_py.read_text().replace("'time_limit_s': 4", ""))
    code, said = resume(run)
    assert code == 0 and "run.py has changed since the run began" in said, said
    assert starts(all_runs()[0]) == ONCE


def test_times_on_the_command_line_go_before_those_of_the_script(experiment) -> None:
    directory = experiment("{'time_limit_s': 1000}", database=True)
    done = penstock("run", directory, "--time-limit", "3", "--checkpoint", "0.2", "--stop-before", "0.5")
    assert done.returncode == 1 and "0.5 s before its limit of 3 s" in done.stderr
    (run,) = all_runs()
    assert list(run.directory.glob("database/saved/*")) and run.state == "out_of_time"
    again = penstock("run", "--resume", run.run_id)  # with the same times
    assert again.returncode == 1 and "0.5 s before its limit of 3 s" in again.stderr
    (run.directory / "go").touch()
    done = penstock("run", "--resume", all_runs()[0].run_id, "--time-limit", "100")
    assert done.returncode == 0, done.stderr
    assert starts(all_runs()[0]) == {**ONCE, "m_2": 3, "m_3": 3}


@pytest.mark.parametrize("option", ["--time-limit", "--stop-before", "--checkpoint"])
@pytest.mark.parametrize("wrong", ["0", "-1", "inf", "nan"])
def test_a_time_on_the_command_line_that_cannot_be_is_named(experiment, option: str, wrong: str) -> None:
    done = penstock("run", experiment(), f"{option}={wrong}")
    assert done.returncode == 2 and f"{option} {wrong}: must be a number of seconds above 0" in done.stderr
    assert not all_runs()


def test_twice(experiment, start) -> None:
    driver = start(experiment())
    run = await_run(in_the_middle)
    end(driver, signal.SIGKILL)
    again = subprocess.Popen([sys.executable, "-m", "orchestrator.cli", "run", "--resume", run.run_id])
    await_run(lambda now: in_the_middle(now) and starts(now)["m_2"] == starts(now)["m_3"] == 2)
    end(again, signal.SIGKILL)
    code, said = resume(all_runs()[0])
    assert code == 0, said
    (after,) = all_runs()
    assert after.run_id == f"{run.run_id}-r2" and starts(after) == {**ONCE, "m_2": 3, "m_3": 3}


def test_what_has_changed_is_refused_by_name(experiment, start) -> None:
    driver = start(experiment())
    run = await_run(in_the_middle)
    end(driver, signal.SIGKILL)
    experiment(extra=1)
    code, said = resume(run)
    assert code == 1 and "had extra = 0, and config.toml has 1" in said
    directory = experiment()
    (directory / "run.py").write_text((directory / "run.py").read_text().replace('"{n}", ', '"{n}", "-v", '))
    code, said = resume(run)
    assert code == 1 and "cannot go on with 'm_0': its command has '-v' where it had '0'" in said
    assert starts(run) == {"m_0": 1, "m_1": 1, "m_2": 1, "m_3": 1}
    experiment()
    code, said = resume(all_runs()[0])
    assert code == 0, said
    assert starts(run) == ONCE


def test_what_cannot_be_resumed_says_why(experiment, start) -> None:
    directory = experiment()
    driver = start(directory)
    run = await_run(in_the_middle)
    assert "it is active" in penstock("run", "--resume", run.run_id).stderr
    (run.directory / "go").touch()
    assert driver.wait(DEADLINE_S) == 0
    assert "nothing is left to do" in penstock("run", "--resume", run.directory).stderr
    assert "there is no run called 'x'" in penstock("run", "--resume", "x").stderr
    for options in (["--quick"], ["--set", "a=1"], [str(directory)], ["--preview"], ["--run-dir", "d"]):
        done = penstock("run", "--resume", run.run_id, *options)
        assert done.returncode == 2 and "--resume" in done.stderr, options
    assert penstock("run").returncode == 2


def test_a_run_of_a_plain_script_says_that_nobody_knows_how(home: Path) -> None:
    with pytest.raises(KeyError), Experiment("e") as exp:
        raise KeyError("x")
    said = penstock("run", "--resume", exp.run_dir).stderr
    assert "not started by `penstock run`" in said
    options = LaunchOptions(resume=True)
    with pytest.raises(RunError, match="pass run_dir on"):
        Experiment("e", options)
    with Experiment("e", options, run_dir=exp.run_dir) as again:
        again.wait(again.start(Application("a", ["true"])))
    assert read_record(exp.run_dir)["state"] == "completed"


@pytest.mark.parametrize("wrong", [0, -1.0, "1", True, float("inf")])
def test_a_time_between_saves_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(UsageError, match="checkpoint_s="):
        Experiment("e", checkpoint_s=wrong)


def test_who_comes_after_an_ensemble_that_had_completed_is_started(home: Path) -> None:
    def run(options: LaunchOptions, fails: bool) -> dict[str, str]:
        with Experiment("e", options, run_dir=home / "run") as exp:
            members = Ensemble("m", ["true"], replicas=3, resources=Resources(cores=1))
            group = exp.start(members)
            group.wait(DEADLINE_S)
            if fails:
                raise KeyError("in the script")
            exp.start(Application("last", ["true"]), after=group)
            exp.wait(timeout_s=DEADLINE_S)
        return {job["name"]: job["reason"] for job in read_record(home / "run")["jobs"]}

    with pytest.raises(KeyError):
        run(LaunchOptions(), True)
    told = run(LaunchOptions(resume=True), False)
    assert told == {**{f"m_{n}": "had completed when the run was resumed" for n in range(3)}, "last": None}


def test_of_two_drivers_that_resume_one_is_refused(home: Path) -> None:
    with pytest.raises(KeyError), Experiment("e", run_dir=home / "run") as exp:
        raise KeyError("in the script")
    lock = take_lock(home / "run" / "resume.lock")
    try:
        second = Experiment("e", LaunchOptions(resume=True), run_dir=home / "run")
        with pytest.raises(ResumeError, match="another process goes on with the run in"), second:
            raise AssertionError("it began")
    finally:
        os.close(lock)
    assert [(run.run_id, run.state) for run in all_runs()] == [(exp.run_id, "failed")]


def test_a_cluster_comes_back_as_it_was_when_the_run_failed(home: Path) -> None:
    orchestrator = Orchestrator(module=(), shards=3)
    options = {"run_dir": home / "run", "checkpoint_s": 1000.0}
    with pytest.raises(KeyError), Experiment("e", **options) as exp:
        for node in exp.start(orchestrator).nodes:
            with Shard(node.endpoint) as shard:
                shard.command("SET", key_within(node.slots, "k"), node.shard)
        raise KeyError("in the script")
    with Experiment("e", LaunchOptions(resume=True), **options) as exp:
        found = []
        for node in exp.start(orchestrator).nodes:
            with Shard(node.endpoint) as shard:
                found.append(shard.command("GET", key_within(node.slots, "k")))
    assert found == [b"0", b"1", b"2"]
