"""What is left when somebody kills the driver, the watcher, a shard or a solver: nothing."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, JobState, Orchestrator
from orchestrator.cli.stop import stop
from orchestrator.record import all_runs
from orchestrator.run_files import read_record
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import Driver

START = """
with Experiment("e") as exp:
    db = exp.start(Orchestrator(module=(){options}))
    sims = exp.start(Ensemble("m", ["sleep", "1000"], replicas=2), database=db)
    jobs = [*db.jobs, *sims.jobs]
    print(*(job.pid for job in jobs), exp._guard.pid, flush=True)
    exp.wait()
"""

START_AND_LOSE_WATCHER = START.replace("{options}", "").replace(
    "    exp.wait()",
    """
    old = exp._guard.pid
    os.kill(old, 9)
    while exp._guard.pid == old:
        assert not jobs[0].wait_ended(0.005)
    print(exp._guard.pid, flush=True)
    exp.wait()
""",
)

STUBBORN = """
deaf = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print('deaf'); signal.pause()"
with Experiment("e", grace_s=1000) as exp:
    db = exp.start(Orchestrator(module=()))
    job = exp.start(Application("deaf", [sys.executable, "-c", deaf]), database=db)
    while "deaf" not in job.log.read_text():
        assert not job.wait_ended(0.01)
    print(job.pid, db.jobs[0].pid, flush=True)
    exp.wait()
"""

TOLD = """
deaf = '''
import signal
signal.signal(15, lambda *_: print("told"))
print("deaf")
while True:
    signal.pause()
'''
with Experiment("e", grace_s=1000, run_dir=__import__("pathlib").Path("run")) as exp:
    job = exp.start(Application("deaf", [sys.executable, "-c", deaf]))
    while "deaf" not in job.log.read_text():
        assert not job.wait_ended(0.01)
    print(job.pid, flush=True)
"""

UNTOLD = """
import signal
with Experiment("e") as exp:
    job = exp.start(Application("a", ["sleep", "1000"]))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print(job.pid, flush=True)
    {wait}
"""

ON_A_TERMINAL = """
import pathlib, sys
from orchestrator import *
from orchestrator.script import exit_code

def main():
    with Experiment("e") as exp:
        job = exp.start(Application("a", ["sleep", "1000"]))
        part = pathlib.Path(sys.argv[1] + ".part")
        part.write_text(str(job.pid))
        part.rename(sys.argv[1])
        print("up", flush=True)
        exp.wait()

sys.exit(exit_code(main))
"""

GRANDCHILD = """
spawn = "import subprocess, time; p = subprocess.Popen(['sleep', '1000'], start_new_session=True)"
spawn += "; print(p.pid); time.sleep(1000)"
with Experiment("e") as exp:
    job = exp.start(Application("a", [sys.executable, "-c", spawn]))
    while not (text := job.log.read_text()).endswith("\\n"):
        assert not job.wait_ended(0.01)
    print(job.pid, text, flush=True)
    exp.wait()
"""


@pytest.mark.parametrize("options", ["", ", shards=2"])
def test_driver_killed(driver: Callable[[str], Driver], gone: Callable[..., None], options: str) -> None:
    script = driver(START.replace("{options}", options))
    pids = script.numbers()
    script.signal(signal.SIGKILL)
    assert script.end()[0] == -9
    gone(*pids)
    (run,) = all_runs()
    assert run.state == "lost" and not run.runtime.exists()
    shown = penstock("ps").stdout
    assert "lost" in shown and "active" not in shown
    assert penstock("stop").stdout == f"cleaned up {run.run_id}, whose driver was killed: nothing of it ran\n"
    assert penstock("stop", "--all").stdout == "no run is active\n"


def test_driver_killed_after_its_watcher_was(
    driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    script = driver(START_AND_LOSE_WATCHER)
    pids = script.numbers()
    (second,) = script.numbers()
    script.signal(signal.SIGKILL)
    script.end()
    gone(*pids, second)
    assert not all_runs()[0].runtime.exists()


def test_killed_watcher_is_replaced_and_is_no_failure(gone: Callable[..., None]) -> None:
    with Experiment("e") as exp:
        job = exp.start(Application("a", ["sleep", "1000"]))
        first = exp._guard.pid
        os.kill(first, signal.SIGKILL)
        while (second := exp._guard.pid) == first:
            assert not job.wait_ended(0.005)
        os.kill(second, 0)
        assert job.state is JobState.ACTIVE
    gone(second)
    assert read_record(exp.run_dir)["state"] == "completed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_driver_told_to_end(
    driver: Callable[[str], Driver], gone: Callable[..., None], number: signal.Signals
) -> None:
    script = driver(START.replace("{options}", ""))
    pids = script.numbers()
    script.signal(number)
    code, said = script.end()
    assert code == -signal.SIGINT  # a shell shows 130
    assert "stopping everything" in said
    gone(*pids)
    (run,) = all_runs()
    assert run.state == "interrupted"


@pytest.mark.parametrize("wait", ["exp.wait()", "job.wait()"])
def test_signal_that_does_not_interrupt_the_waiting_thread_ends_a_run(
    driver: Callable[[str], Driver], gone: Callable[..., None], wait: str
) -> None:
    """As when it comes just before the wait begins: only another thread of the driver sees it."""
    script = driver(UNTOLD.replace("{wait}", wait))
    pids = script.numbers()
    script.signal(signal.SIGTERM)
    assert script.end()[0] == -signal.SIGINT
    gone(*pids)


def test_closed_terminal_ends_a_run_in_good_order(tmp_path: Path, gone: Callable[..., None]) -> None:
    """The kernel sends SIGHUP, and from then on whatever is said fails."""
    script, said = tmp_path / "driver.py", tmp_path / "said"
    script.write_text(ON_A_TERMINAL)
    driver, terminal = pty.fork()
    if driver == 0:
        os.execv(sys.executable, [sys.executable, str(script), str(said)])
    while not said.exists():
        assert os.read(terminal, 4096)
    pids = [int(word) for word in said.read_text().split()]
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1]) == 130
    gone(*pids)
    assert all_runs()[0].state == "interrupted"


def test_second_interrupt_kills_at_once(driver: Callable[[str], Driver], gone: Callable[..., None]) -> None:
    script = driver(STUBBORN)
    pids = script.numbers()
    script.signal(signal.SIGINT)
    assert script.process.stderr is not None
    assert any("Ctrl-C again" in line for line in script.process.stderr)
    script.signal(signal.SIGINT)
    code, _ = script.end()
    assert code == -signal.SIGINT
    gone(*pids)


def test_interrupt_while_everything_is_being_stopped_hurries_it_on(
    driver: Callable[[str], Driver], gone: Callable[..., None], tmp_path: Path
) -> None:
    script = driver(TOLD)
    pid = int(script.line())
    while "told" not in (tmp_path / "run" / "deaf" / "log.txt").read_text():
        with pytest.raises(subprocess.TimeoutExpired):
            script.process.wait(0.02)
    script.signal(signal.SIGTERM)
    assert script.end()[0] == -signal.SIGINT
    gone(pid)
    assert all_runs()[0].state == "interrupted"


def test_driver_killed_with_grandchild_in_a_session_of_its_own(
    driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    script = driver(GRANDCHILD)
    pids = [*script.numbers(), *script.numbers()]
    assert len(pids) == 2
    script.signal(signal.SIGKILL)
    script.end()
    gone(*pids)


def test_stranger_of_the_same_program_survives(
    driver: Callable[[str], Driver], gone: Callable[..., None], tmp_path: Path
) -> None:
    with Experiment("bystander") as exp:
        db = exp.start(Orchestrator(module=()))
        other = exp.start(Application("a", ["sleep", "1000"]), database=db)
        script = driver(START.replace("{options}", ""))
        pids = script.numbers()
        script.signal(signal.SIGKILL)
        script.end()
        gone(*pids)
        assert (db.state, other.state) == (JobState.ACTIVE, JobState.ACTIVE)


@pytest.mark.parametrize("arguments", [(), ("--all",), ("e-",)])
def test_stop_cleans_up_after_driver_and_watcher_were_killed(
    driver: Callable[[str], Driver], gone: Callable[..., None], arguments: Sequence[str]
) -> None:
    script = driver(START.replace("{options}", ""))
    *pids, watcher = script.numbers()
    script.signal(signal.SIGSTOP)  # so that it cannot replace its watcher
    os.kill(watcher, signal.SIGKILL)
    gone(watcher)
    script.signal(signal.SIGKILL)
    script.end()
    os.kill(pids[0], 0)
    done = penstock("stop", *arguments)
    (run,) = all_runs()
    assert done.stdout == f"cleaned up {run.run_id}, whose driver was killed: ended {len(pids)} processes\n"
    assert done.returncode == 0
    gone(*pids)
    assert not all_runs()[0].runtime.exists()


def test_stop_cleans_up_lost_runs_where_it_must_ask_which_active_one(
    driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    lost, *active = (driver(START.replace("{options}", "")) for _ in range(3))
    pids = lost.numbers()
    running = [pid for each in active for pid in each.numbers()]
    lost.signal(signal.SIGKILL)
    lost.end()
    gone(*pids)
    done = penstock("stop")
    assert "cleaned up e-" in done.stdout
    assert done.returncode == 1 and "several runs are active" in done.stderr
    assert penstock("stop", "--all").stdout.count("stopped e-") == 2
    for each in active:
        each.end()
    gone(*running)


def test_stop_ends_an_active_run(
    driver: Callable[[str], Driver], gone: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    script = driver(START.replace("{options}", ""))
    pids = script.numbers()
    stop(None)
    assert script.end()[0] == -signal.SIGINT
    gone(*pids)
    assert "stopped e-" in capsys.readouterr().out
