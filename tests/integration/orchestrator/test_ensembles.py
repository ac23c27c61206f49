"""Ensembles on real processes: members take turns, are tried again, awaited, and join while others run."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator import Application, Ensemble, Experiment, JobState, Orchestrator, Policy, Resources
from orchestrator.errors import (
    ApplicationError,
    GridError,
    JobFailed,
    PlacementError,
    StartFailed,
    UsageError,
)
from orchestrator.hosts import Host, Inventory
from orchestrator.launchers.local import LocalLauncher
from orchestrator.run_files import read_record
from tests.integration.orchestrator.command import penstock

ONE = Resources(cores=1)
FOREVER = ["sleep", "1000"]
DEADLINE_S = 60.0

# Ends when a file named like its argument is there; so a test says what ends when.
HELD = """
import os, sys, time
print("up", flush=True)
deadline = time.monotonic() + 100
while not os.path.exists(os.path.join(os.environ["PENSTOCK_RUN_DIR"], sys.argv[1])):
    if time.monotonic() > deadline:
        sys.exit("nobody let this program end")
    time.sleep(0.005)
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, however many the machine has."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("needs two cores")
    inventory = Inventory((Host(os.uname().nodename, tuple(cores[:2])),))
    monkeypatch.setattr(LocalLauncher, "inventory", lambda launcher: inventory)


def held(name: str = "m", count: int = 4, **options) -> Ensemble:
    command = [sys.executable, "-c", HELD, "go_{n}"]
    return Ensemble(name, command, grid={"n": list(range(count))}, resources=ONE, **options)


def let_go(exp: Experiment, *numbers: int) -> None:
    for number in numbers:
        (exp.run_dir / f"go_{number}").touch()


def wait_for(job, state: JobState) -> None:
    """Wait until a Job is in a state."""
    deadline = time.monotonic() + DEADLINE_S
    while job.state is not state:
        assert time.monotonic() < deadline, (job, job.reason)
        job.wait_ended(0.01)


def states(jobs) -> str:
    """The first letters of states: a for active, q for queued."""
    return "".join(job.state.value[:2] for job in jobs)


def test_members_take_turns_and_each_has_its_own_core() -> None:
    with Experiment("e") as exp:
        group = exp.start(held())
        assert states(group.jobs) == "acacququ"
        assert group.jobs[0].placement.cores != group.jobs[1].placement.cores
        let_go(exp, 1)
        wait_for(group.jobs[2], JobState.ACTIVE)
        assert group.jobs[2].placement.cores == group.jobs[1].placement.cores
        assert group.jobs[0].state is JobState.ACTIVE and group.jobs[3].state is JobState.QUEUED
        let_go(exp, 0, 2, 3)
        exp.wait(timeout_s=DEADLINE_S)
        assert group.state is JobState.COMPLETED and group.returncode == 0
    told = read_record(exp.run_dir)["jobs"]
    assert [job["attempts"] for job in told] == [1, 1, 1, 1]
    assert [job["parameters"] for job in told] == [{"n": n, "replica": 0} for n in range(4)]
    assert all(job["started"] < job["ended"] and job["returncode"] == 0 and job["ranks"] for job in told)
    assert told[2]["started"] >= told[1]["ended"]


def test_programs_outside_the_queue_hold_their_cores() -> None:
    with Experiment("e") as exp:
        first, second = (exp.start(Application(name, FOREVER)) for name in ("first", "second"))
        group = exp.start(held(count=1))
        assert states(group.jobs) == "qu"
        second.stop()
        wait_for(group.jobs[0], JobState.ACTIVE)
        assert group.jobs[0].placement.cores == second.placement.cores
        let_go(exp, 0)
        group.wait(DEADLINE_S)
        first.stop()


def test_without_resources_all_start_at_once_and_share() -> None:
    with Experiment("e") as exp:
        group = exp.start(Ensemble("m", FOREVER, replicas=5))
        assert states(group.jobs) == "ac" * 5


def test_what_a_database_leaves_must_be_enough() -> None:
    with Experiment("e") as exp:
        exp.start(Orchestrator(module=(), resources=Resources(cores=1)))
        with pytest.raises(PlacementError, match=r"needs 2 core\(s\), and 1 of"):
            exp.start(Ensemble("m", ["true"], resources=Resources(cores=2)))
        assert exp.jobs == ()


def test_what_the_launcher_refuses_is_refused_before_any_member_starts() -> None:
    with Experiment("e") as exp:
        with pytest.raises(PlacementError, match='launcher="mpi"'):
            exp.start(Ensemble("m", ["true"], resources=Resources(ranks=2), replicas=3))
        assert exp.jobs == ()


def test_after_waits_for_jobs_and_groups() -> None:
    with Experiment("e") as exp:
        prepare = exp.start(Application("prepare", [sys.executable, "-c", HELD, "go_7"]))
        group = exp.start(held(count=1), after=prepare)
        post = exp.start(Application("post", ["true"]), after=[prepare, group])
        assert states([*group.jobs, post]) == "ququ"
        let_go(exp, 7)
        wait_for(group.jobs[0], JobState.ACTIVE)
        assert post.state is JobState.QUEUED
        let_go(exp, 0)
        assert post.wait(DEADLINE_S) is JobState.COMPLETED
        again = exp.start(Application("again", ["true"]), after=[prepare, group])
        assert again.wait(DEADLINE_S) is JobState.COMPLETED


def test_after_a_failure_is_canceled_and_says_after_whose() -> None:
    with Experiment("e") as exp:
        lenient = Policy(on_failure="continue")
        prepare = exp.start(Application("prepare", ["false"]), policy=lenient)
        post = exp.start(Application("post", ["true"]), after=prepare)
        last = exp.start(Application("last", ["true"]), after=post)
        exp.wait(timeout_s=DEADLINE_S)
        assert (post.state, last.state) == (JobState.CANCELED, JobState.CANCELED)
        assert post.reason == "'prepare' has failed, and this was to come after it"
        assert last.reason == "'post' was canceled, and this was to come after it"
    told = {job["name"]: job for job in read_record(exp.run_dir)["jobs"]}
    assert told["post"]["reason"] == post.reason and told["post"]["pid"] is None
    assert told["post"]["attempts"] == 0 and read_record(exp.run_dir)["state"] == "completed"


def test_the_highest_priority_goes_first() -> None:
    with Experiment("e") as exp:
        blockers = [exp.start(Application(f"b{n}", FOREVER)) for n in range(2)]
        low = exp.start(Ensemble("low", ["true"], resources=ONE, replicas=2))
        high = exp.start(Ensemble("high", ["true"], resources=ONE, replicas=2), policy=Policy(priority=1))
        blockers[0].stop()
        exp.wait(low, high, timeout_s=DEADLINE_S)
        assert max(job.started for job in high.jobs) <= min(job.started for job in low.jobs)


def test_a_failed_member_is_tried_again_in_its_directory() -> None:
    text = "import os; n = len(os.listdir()); open('try%d' % n, 'w').close(); print('try', n); exit(n < 3)"
    with Experiment("e") as exp:
        group = exp.start(
            Ensemble("m", [sys.executable, "-c", text], resources=ONE), policy=Policy(retries=2, pause_s=0.01)
        )
        exp.wait(group, timeout_s=DEADLINE_S)
        (job,) = group.jobs
        assert (job.attempts, job.returncode, job.log.read_text()) == (3, 0, "try 1\ntry 2\ntry 3\n")
    assert read_record(exp.run_dir)["jobs"][0]["attempts"] == 3


def test_a_member_that_goes_on_failing_says_how_often() -> None:
    with pytest.raises(JobFailed, match="'m_0' ended with exit code 1 at attempt 2"), Experiment("e") as exp:
        group = exp.start(Ensemble("m", ["false"], resources=ONE), policy=Policy(retries=1, pause_s=0.0))
        exp.wait(group, timeout_s=DEADLINE_S)


def test_a_failure_stops_those_that_run_and_those_that_wait() -> None:
    with Experiment("e") as exp:
        command = [sys.executable, "-c", HELD, "go_{n}", "{n}"]
        group = exp.start(Ensemble("m", command, grid={"n": [0, 1, 2, 3]}, resources=ONE))
        let_go(exp, 1)
        with pytest.raises(JobFailed, match="'m_1' ended with exit code 1"):
            group.member(n=1).wait(DEADLINE_S)
        for number in (0, 2, 3):
            job = group.member(n=number)
            assert job.wait(DEADLINE_S) is JobState.CANCELED and job.reason == "'m_1' has failed"
        assert group.jobs[0].returncode == -signal.SIGTERM and group.jobs[2].returncode is None
        late = group.add(n=4)
        assert late.wait(DEADLINE_S) is JobState.CANCELED and late.reason == "'m_1' has failed"
        assert group.failed == (group.jobs[1],)


def test_a_failure_may_be_let_be(capfd: pytest.CaptureFixture[str]) -> None:
    with Experiment("e") as exp:
        command = [sys.executable, "-c", "raise SystemExit({n})"]
        lenient = Policy(on_failure="continue")
        group = exp.start(Ensemble("m", command, grid={"n": [0, 1, 2, 0]}, resources=ONE), policy=lenient)
        exp.wait(timeout_s=DEADLINE_S)
        assert [job.name for job in group.failed] == ["m_1", "m_2"]
        assert group.state is JobState.FAILED and group.wait() is JobState.FAILED
        with pytest.raises(JobFailed):
            group.jobs[1].wait()
    assert read_record(exp.run_dir)["state"] == "completed"
    assert "these have failed, and are let be: m_1, m_2" in capfd.readouterr().err


def test_a_member_over_its_time_is_stopped_and_has_failed() -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()"
    policy = Policy(timeout_s=0.5, on_failure="continue")
    with Experiment("e", grace_s=0.2) as exp:
        slow = exp.start(Application("slow", FOREVER), policy=policy)
        stubborn = exp.start(Application("stubborn", [sys.executable, "-c", deaf]), policy=policy)
        exp.wait(timeout_s=DEADLINE_S)
        assert slow.returncode == -signal.SIGTERM and stubborn.returncode in (
            -signal.SIGKILL,
            -signal.SIGTERM,
        )
        assert slow.state is stubborn.state is JobState.FAILED
        with pytest.raises(JobFailed, match=r"'slow' ran longer than its 0.5 s and was stopped"):
            slow.wait()


def test_members_are_addressed_by_their_parameters() -> None:
    with Experiment("e") as exp:
        command = ["true", "{nu}", "{scheme}", "{replica}"]
        grid = {"nu": [0.1, 0.2], "scheme": ["upwind", "weno"]}
        group = exp.start(Ensemble("m", command, grid=grid, replicas=2))
        exp.wait(group)
        assert group.member(nu=0.2, scheme="weno", replica=1) is group.jobs[7]
        assert (
            group.where(nu=0.2, scheme="upwind") == group.jobs[4:6] and len(group.where()) == len(group) == 8
        )
        with pytest.raises(GridError, match=r"2 members have nu=0.1, scheme='weno': m_2, m_3"):
            group.member(nu=0.1, scheme="weno")
        with pytest.raises(GridError, match=r"no member has nu=0.3; there are: 0.1, 0.2"):
            group.member(nu=0.3)
        with pytest.raises(GridError, match="no parameter 'mu'; there is: nu, scheme, replica"):
            group.where(mu=1)
        assert group.where(nu=0.3) == ()


def test_members_join_while_others_run() -> None:
    with Experiment("e") as exp:
        group = exp.start(held(count=2))
        added = group.add(n=5)
        assert added.name == "m_2" and added.state is JobState.QUEUED and group.member(n=5) is added
        for wrong in ({}, {"n": 1, "x": 2}, {"n": None}):
            with pytest.raises(GridError):
                group.add(**wrong)
        assert group.add(n=5).parameters == {"n": 5, "replica": 1}
        let_go(exp, 0, 1, 5)
        exp.wait(timeout_s=DEADLINE_S)
        assert len(group) == 4 and group.state is JobState.COMPLETED
    with pytest.raises(UsageError, match="not running"):
        group.add(n=6)


def test_a_listener_may_add_the_next_member() -> None:
    """It is called on the thread that starts it."""
    with Experiment("e") as exp:
        group = exp.start(Ensemble("m", ["true", "{n}"], grid={"n": [0]}, resources=ONE), after=())
        done = threading.Event()

        def steer(job) -> None:
            if len(group) < 5:
                group.add(n=len(group)).when_ended(steer)
            else:
                done.set()

        group.jobs[0].when_ended(steer)
        assert done.wait(DEADLINE_S)
        exp.wait(timeout_s=DEADLINE_S)
        assert [job.parameters["n"] for job in group.jobs] == [0, 1, 2, 3, 4]


def test_wait_waits_for_those_that_join_meanwhile() -> None:
    with Experiment("e") as exp:
        group = exp.start(held(count=1))

        def add(job) -> None:
            if len(group) < 3:
                group.add(n=0).when_ended(add)

        group.jobs[0].when_ended(add)
        let_go(exp, 0)
        exp.wait(group, timeout_s=DEADLINE_S)
        assert len(group) == 3 and group.state is JobState.COMPLETED


def test_one_that_waits_can_be_followed(capfd: pytest.CaptureFixture[str]) -> None:
    with Experiment("e") as exp:
        first = exp.start(held(count=1))
        later = exp.start(Application("later", ["echo", "its turn"]), after=first)
        never = exp.start(Application("never", ["true"]), after=later)
        never.stop()
        let_go(exp, 0)
        exp.wait(later, follow=later, timeout_s=DEADLINE_S)
        exp.wait(never, follow=never, timeout_s=DEADLINE_S)
    assert "later | its turn" in capfd.readouterr().out


def test_the_command_shows_what_waits() -> None:
    with Experiment("e") as exp:
        exp.start(held(count=3))
        with pytest.raises(TimeoutError):
            exp.wait(timeout_s=0)
        assert re.search(r"m_2 +│ queued +│ +│", penstock("ps").stdout)
        assert "m_2 has not been started" in penstock("logs", "m_2").stderr


def test_what_waits_can_be_stopped_and_never_runs() -> None:
    with Experiment("e") as exp:
        group = exp.start(held(count=6))
        group.jobs[3].stop()
        assert (
            group.jobs[3].state is JobState.CANCELED
            and group.jobs[3].reason == "was stopped before its turn came"
        )
        group.stop()
        assert states(group.jobs) == "ca" * 6
        assert [job.returncode for job in group.jobs[2:]] == [None] * 4
        assert not group.jobs[5].directory.exists()


def test_leaving_the_block_cancels_what_waits() -> None:
    with Experiment("e") as exp:
        group = exp.start(held(count=50))
        later = exp.start(Application("later", ["true"]), after=group)
    assert states([*group.jobs, later]) == "ca" * 51
    assert [job.attempts for job in group.jobs] == [1, 1] + [0] * 48


def test_a_member_that_cannot_be_started_is_tried_again_or_is_raised() -> None:
    with Experiment("e") as exp:
        (exp.run_dir / "m_1").touch()
        with pytest.raises(StartFailed, match="'m_1' could not be started"):
            exp.start(Ensemble("m", FOREVER, replicas=3, resources=ONE))
        assert states(exp.jobs) == "cafaca"
        (exp.run_dir / "k_0").touch()
        group = exp.start(
            Ensemble("k", ["true"], resources=ONE),
            policy=Policy(retries=1, pause_s=0.0, on_failure="continue"),
        )
        with pytest.raises(StartFailed, match="'k_0' could not be started"):
            group.jobs[0].wait(DEADLINE_S)


def test_what_cannot_be_is_refused_and_nothing_is_started() -> None:
    with Experiment("e") as exp:
        job = exp.start(Application("a", ["true"]))
        with (
            Experiment("other") as other,
            pytest.raises(UsageError, match="after='a': this experiment has not"),
        ):
            other.start(Application("b", ["true"]), after=job)
        with pytest.raises(UsageError, match="is no Job"):
            exp.start(Application("b", ["true"]), after="a")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="comes after nothing"):
            exp.start(Orchestrator(module=()), after=job)  # type: ignore[call-overload]
        with pytest.raises(ApplicationError, match="one of this name"):
            exp.start(Ensemble("a", ["true"]))
        exp.start(Ensemble("g", ["true"]))
        with pytest.raises(ApplicationError, match="one of this name"):
            exp.start(Application("g", ["true"]))


def test_a_preview_shows_who_waits(capsys: pytest.CaptureFixture[str]) -> None:
    with Experiment("e") as exp:
        preview = exp.preview(held())
        assert [program["waits"] for program in preview.as_json()["programs"]] == [False, False, True, True]
        assert str(preview).count("waits for its turn") == 2
        group = exp.start(held("k"))
        assert [program["name"] for program in exp.preview().as_json()["programs"]] == ["k_0", "k_1"]
        group.stop()
    capsys.readouterr()
    with Experiment("e", "dry_run") as exp:
        first = exp.start(held())
        exp.start(Application("post", ["true"]), after=first, policy=Policy(retries=1))
        exp.wait()
    assert capsys.readouterr().out.count("waits for its turn") == 2


def test_a_driver_that_is_killed_leaves_nothing_and_a_true_record(driver, gone) -> None:
    process = driver("""
        with Experiment("e") as exp:
            group = exp.start(Ensemble("m", ["sleep", "1000"], resources=Resources(cores=1), replicas=500))
            try:
                exp.wait(timeout_s=0)  # records what has been started, and returns
            except TimeoutError:
                pass
            print(exp.run_dir)
            print(*(job.pid for job in group.jobs if job.pid), flush=True)
            exp.wait()
    """)
    directory, pids = Path(process.line()), process.numbers()
    process.signal(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    gone(*pids)
    told = json.loads((directory / "run.json").read_text())
    assert [job["pid"] for job in told["jobs"] if job["pid"]] == pids
    assert len(told["jobs"]) == 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_told_to_end_cancels_what_waits(driver, number: signal.Signals) -> None:
    process = driver("""
        with Experiment("e") as exp:
            group = exp.start(Ensemble("m", ["sleep", "1000"], resources=Resources(cores=1), replicas=300))
            print(exp.run_dir, flush=True)
            exp.wait()
    """)
    directory = Path(process.line())
    process.signal(number)
    process.end()
    told = read_record(directory)
    assert told["state"] == "interrupted"
    assert {job["state"] for job in told["jobs"]} == {"canceled"} and len(told["jobs"]) == 300


@pytest.mark.slow
def test_a_thousand_members_on_two_cores() -> None:
    with Experiment("e") as exp:
        group = exp.start(Ensemble("m", ["true", "{n}"], grid={"n": list(range(1000))}, resources=ONE))
        joined = _resident_kb()
        exp.wait(timeout_s=110)
        grown = _resident_kb() - joined
        assert group.state is JobState.COMPLETED and group.returncode == 0
        assert all(job.attempts == 1 for job in group.jobs)
    assert grown < 5_000, f"the driver grew by {grown} kB while a thousand members ran"
    told = read_record(exp.run_dir)["jobs"]
    assert [job["parameters"]["n"] for job in told] == list(range(1000))
    assert {(job["state"], job["returncode"]) for job in told} == {("completed", 0)}
    for cores in {tuple(job["cores"]) for job in told}:
        turns = sorted((job["started"], job["ended"]) for job in told if tuple(job["cores"]) == cores)
        assert all(ended <= begun for (_, ended), (begun, _) in pairwise(turns))
    assert time.time() > told[-1]["ended"]


def _resident_kb() -> int:
    """What the driver holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_a_fault_as_members_start_ends_the_run_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise ValueError("a fault of ours")

    told = r"could not be started: ValueError\(.a fault of ours"
    with pytest.raises(JobFailed, match=told), Experiment("e") as exp:
        monkeypatch.setattr(LocalLauncher, "start", start)
        command = ["sleep", "{n}"]
        runs = exp.start(Ensemble("m", command, grid={"n": [1, 2, 3]}, resources=Resources(cores=1)))
        exp.wait(timeout_s=60)
    assert runs.jobs[0].state is JobState.FAILED and all(job.state.final for job in runs.jobs)


def test_a_member_has_the_environment_that_the_driver_had_when_it_was_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NU", "then")
    monkeypatch.setenv("LEFT", "there")
    command = [sys.executable, "-c", "import os; print(os.environ['NU'], os.environ['LEFT'])"]
    with Experiment("waits", run_dir=tmp_path / "run") as exp:
        before = exp.start(held(count=2))
        late = exp.start(Ensemble("late", command, resources=ONE), after=before)
        monkeypatch.setenv("NU", "now")
        monkeypatch.delenv("LEFT")
        for number in range(2):
            (tmp_path / "run" / f"go_{number}").touch()
        exp.wait(late)
        assert late.log[0].read_text() == "then there\n"
        own = exp.start(Application("own", [sys.executable, "-c", "import os; print(os.environ['NU'])"]))
        exp.wait(own)
        assert own.log.read_text() == "now\n"
