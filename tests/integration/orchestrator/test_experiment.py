"""An Experiment: what it starts, what it says of failures, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Application, Ensemble, Experiment, JobState, Orchestrator, Resources
from orchestrator.errors import (
    ApplicationError,
    JobFailed,
    PlacementError,
    RunError,
    StartFailed,
    UsageError,
    WaitTimeout,
)
from orchestrator.hosts import Host, Inventory, this_host
from orchestrator.launchers.local import LocalLauncher
from orchestrator.record import all_runs
from orchestrator.run_files import read_record
from tests.integration.orchestrator.conftest import Driver

FOREVER = ["sleep", "1000"]


def python(text, name="program", **options):
    return Application(name, [sys.executable, "-c", text], **options)


def test_program_finds_its_place(tmp_path: Path) -> None:
    show = (
        "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), sorted(os.sched_getaffinity(0))]))"
    )
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        job = exp.start(python(show, environment={"OWN": "1", "OMP_NUM_THREADS": "9"}), database=db)
        exp.wait(job, timeout_s=60)
    environment, directory, cores = json.loads(job.log.read_text())
    assert environment["SSDB"] == str(db.address)
    assert environment["PENSTOCK_NAME"] == "program"
    assert environment["PENSTOCK_RUN_DIR"] == str(exp.run_dir)
    assert environment["PENSTOCK_JOB_DIR"] == directory == str(exp.run_dir / "program")
    assert (environment["OWN"], environment["OMP_NUM_THREADS"]) == ("1", "9")
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    assert tuple(cores) == job.placement.cores and len(cores) == 1


def test_driver_keeps_its_own_affinity() -> None:
    before = os.sched_getaffinity(0)
    with Experiment("e") as exp:
        exp.wait(exp.start(python("pass")))
    assert os.sched_getaffinity(0) == before


def test_failure_raises_with_its_facts_and_stops_the_others() -> None:
    with pytest.raises(JobFailed, match=r"exit code 3(.|\n)*the reason") as caught, Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        neighbour = exp.start(Application("neighbour", FOREVER), database=db)
        bad = exp.start(python("print('the reason'); raise SystemExit(3)", name="bad"))
        exp.wait(neighbour)
    assert caught.value.returncode == 3
    assert caught.value.command == bad.command
    assert caught.value.log_tail == "the reason"
    assert neighbour.state is JobState.CANCELED
    assert db.state is JobState.CANCELED
    record = read_record(exp.run_dir)
    assert record["state"] == "failed" and "exit code 3" in record["error"]


def test_everything_is_stopped_when_wait_raises_not_only_at_the_end() -> None:
    with Experiment("e") as exp:
        neighbour = exp.start(Application("neighbour", FOREVER))
        exp.start(python("raise SystemExit(1)", name="bad"))
        with pytest.raises(JobFailed):
            exp.wait(neighbour)
        assert neighbour.state is JobState.CANCELED
        with pytest.raises(UsageError, match="not running"):
            exp.start(Application("late", FOREVER))
    assert read_record(exp.run_dir)["state"] == "failed"


def test_failure_nobody_waited_for_is_raised_at_the_end() -> None:
    with pytest.raises(JobFailed, match="'bad' ended with exit code 4"), Experiment("e") as exp:
        bad = exp.start(python("raise SystemExit(4)", name="bad"))
        assert bad.wait_ended(30)


def test_failure_that_was_seen_is_not_raised_again() -> None:
    with Experiment("e") as exp:
        bad = exp.start(python("raise SystemExit(4)", name="bad"))
        with pytest.raises(JobFailed):
            bad.wait(30)
    assert read_record(exp.run_dir)["state"] == "failed"


@pytest.mark.parametrize("waiting", [True, False])
def test_listener_that_raises_is_raised_and_stops_nobody_from_seeing_ends(waiting: bool) -> None:
    def broken(job):
        raise ZeroDivisionError("in a listener")

    with pytest.raises(ZeroDivisionError, match="in a listener"), Experiment("e") as exp:
        first = exp.start(Application("first", FOREVER))
        first.when_ended(broken)
        first.stop()
        if waiting:
            exp.wait(exp.start(python("pass", name="second")), timeout_s=60)
    assert read_record(exp.run_dir)["state"] == "failed"


def test_killed_program_names_the_signal() -> None:
    with pytest.raises(JobFailed, match=r"killed by signal 9 \(SIGKILL"), Experiment("e") as exp:
        job = exp.start(Application("victim", FOREVER))
        os.kill(job.pid, 9)
        exp.wait(job)


def test_leaving_the_block_stops_what_runs() -> None:
    with Experiment("e") as exp:
        job = exp.start(Application("endless", FOREVER))
    assert job.state is JobState.CANCELED and job.returncode == -15
    assert read_record(exp.run_dir)["state"] == "completed"


def test_stubborn_program_is_killed_after_its_grace() -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
    with Experiment("e", grace_s=0.2) as exp:
        job = exp.start(python(deaf))
        wait_for_text(job, "deaf")
    assert job.returncode == -9


def test_grandchild_in_a_session_of_its_own_is_ended(gone: Callable[..., None]) -> None:
    spawn = "import subprocess; print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)"
    with Experiment("e") as exp:
        job = exp.start(python(spawn))
        exp.wait(job)
        grandchild = int(job.log.read_text())
        os.kill(grandchild, 0)
    gone(grandchild)


def test_exception_in_the_script_stops_everything_and_goes_on() -> None:
    with pytest.raises(ZeroDivisionError), Experiment("e") as exp:
        job = exp.start(Application("endless", FOREVER))
        raise ZeroDivisionError
    assert job.state is JobState.CANCELED
    assert read_record(exp.run_dir)["state"] == "failed"


def test_timeout_says_what_was_awaited_and_stops_nothing() -> None:
    with Experiment("e") as exp:
        job = exp.start(Application("endless", FOREVER))
        with pytest.raises(WaitTimeout, match=r"0\.05 s in vain for the end of endless"):
            exp.wait(job, timeout_s=0.05)
        with pytest.raises(TimeoutError):
            job.wait(0.05)
        assert job.state is JobState.ACTIVE


def test_ensemble_is_a_group() -> None:
    with Experiment("e") as exp:
        command = [sys.executable, "-c", "print({a} * 2)"]
        group = exp.start(Ensemble("heat", command, grid={"a": [1, 2, 3]}))
        exp.wait(group)
        assert group.state is JobState.COMPLETED and group.returncode == 0
    assert [log.read_text() for log in group.log] == ["2\n", "4\n", "6\n"]


def test_group_with_a_failed_member() -> None:
    with Experiment("e") as exp:
        group = exp.start(Ensemble("g", [sys.executable, "-c", "raise SystemExit({a})"], grid={"a": [0, 5]}))
        with pytest.raises(JobFailed, match="g_1"):
            group.wait(30)
        assert group.state is JobState.FAILED and group.returncode == 5


@pytest.mark.parametrize(
    "wrong",
    [
        Application("b", ["no-such-program"]),
        Application("a", ["true"]),
        Ensemble("b", ["/nowhere/{x}"], grid={"x": [1, 2]}),
        "python simulate.py",
    ],
)
def test_wrong_things_start_nothing(wrong: Any) -> None:
    with Experiment("e") as exp:
        first = exp.start(Application("a", FOREVER))
        with pytest.raises(UsageError):
            exp.start(wrong)
        assert exp.jobs == (first,)


def test_members_that_can_never_be_placed_are_not_started() -> None:
    cores = len(os.sched_getaffinity(0))
    with Experiment("e") as exp:
        greedy = Resources(cores=cores + 1)
        with pytest.raises(PlacementError, match=f"'m_0' needs {cores + 1} core"):
            exp.start(Ensemble("m", [*FOREVER, "{x}"], grid={"x": [1, 2]}, resources=greedy))
        assert exp.jobs == ()


def test_member_that_fails_to_start_takes_the_others_with_it() -> None:
    with Experiment("e") as exp:
        (exp.run_dir / "m_1").touch()
        with pytest.raises(StartFailed, match="'m_1' could not be started"):
            exp.start(Ensemble("m", FOREVER, replicas=2))
        assert [job.state for job in exp.jobs] == [JobState.CANCELED, JobState.FAILED]


def test_oversubscription_is_allowed_with_a_note(capfd: pytest.CaptureFixture[str]) -> None:
    cores = len(os.sched_getaffinity(0))
    with Experiment("e") as exp:
        exp.start(Ensemble("m", FOREVER, replicas=cores + 2))
    assert (
        capfd.readouterr().err.count(
            f"more cores are asked for than there are: from m_{cores} on programs share"
        )
        == 1
    )


def test_cores_are_those_the_launcher_has(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not this host's: another launcher starts programs elsewhere."""
    monkeypatch.setattr(LocalLauncher, "inventory", lambda launcher: Inventory((Host("elsewhere", (0,)),)))
    with Experiment("e") as exp:
        group = exp.start(Ensemble("m", FOREVER, replicas=2))
    assert [job.placement.cores for job in group.jobs] == [(0,), (0,)]
    assert "programs share the 1 cores" in capfd.readouterr().err


def test_ranks_need_another_launcher() -> None:
    with Experiment("e") as exp, pytest.raises(PlacementError, match=r'asks for 4 ranks.*launcher="mpi"'):
        exp.start(Application("mpi", ["true"], resources=Resources(ranks=4)))


def test_executable_of_another_format_fails_to_start(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF garbage")
    garbage.chmod(0o755)
    with Experiment("e") as exp, pytest.raises(StartFailed, match="'bad' could not be started") as caught:
        exp.start(Application("bad", [garbage]))
    assert caught.value.command == (str(garbage),)


def test_directory_that_cannot_be_made_fails_to_start() -> None:
    with Experiment("e") as exp:
        (exp.run_dir / "a").touch()
        with pytest.raises(StartFailed, match="'a' could not be started"):
            exp.start(Application("a", ["true"]))


def test_start_outside_the_block_is_refused() -> None:
    with pytest.raises(UsageError, match="with"):
        Experiment("e").start(Application("a", ["true"]))


def test_unknown_launcher_and_name_are_refused() -> None:
    with pytest.raises(
        UsageError, match="'slrum'; there are: local, mpi, slurm, pbs, smartsim, dry_run, auto"
    ):
        Experiment("e", launcher="slrum")
    with pytest.raises(ApplicationError):
        Experiment("../e")


def test_waiting_for_something_else_is_refused() -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        with pytest.raises(UsageError, match="is no Job"):
            exp.wait(db)
        with pytest.raises(UsageError, match="a database already"):
            exp.start(Orchestrator(module=()))


def test_the_run_directory_may_be_text(tmp_path: Path) -> None:
    with Experiment("e", run_dir=str(tmp_path / "run")) as exp:
        assert exp.run_dir == tmp_path / "run"
    with pytest.raises(UsageError, match="run_dir=3"):
        Experiment("e", run_dir=3)  # type: ignore[arg-type]


FULL = """
    import resource

    def fill():  # what a full disk does to a file, another limit does too
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
"""


def test_a_record_that_cannot_be_written_at_first_begins_no_run(
    driver: Callable[[str], Driver], tmp_path: Path
) -> None:
    script = driver(f"""{FULL}
    fill()
    Experiment("e", run_dir={str(tmp_path / "run")!r}).__enter__()
    """)
    code, said = script.end()
    assert code == 1 and "RunError: the record of the run cannot be written: [Errno 27]" in said
    assert list((tmp_path / "run").iterdir()) == []
    assert all_runs() == []


def test_a_record_that_cannot_be_written_later_is_told_and_the_run_goes_on(
    driver: Callable[[str], Driver], tmp_path: Path
) -> None:
    script = driver(f"""{FULL}
    with Experiment("e", run_dir={str(tmp_path / "run")!r}) as exp:
        db = exp.start(Orchestrator(module=()))
        job = exp.start(Application("a", ["sleep", "0.2"]), database=db)
        fill()
        exp.wait()
        print(job.state.value, flush=True)
    """)
    assert script.line() == "completed"
    code, said = script.end()
    assert code == 1 and "penstock: the record of the run cannot be written: [Errno 27]" in said
    assert said.rstrip().splitlines()[-1].startswith("orchestrator.errors.RunError: the record of the run")
    assert read_record(tmp_path / "run")["jobs"][0]["name"] == "database_0"


def test_directory_of_another_run_is_not_taken(tmp_path: Path) -> None:
    with Experiment("e", run_dir=tmp_path / "run") as exp:
        exp.wait(exp.start(python("pass")))
    with pytest.raises(RunError, match="holds a run already"), Experiment("e", run_dir=tmp_path / "run"):
        pass


def test_runtime_directory_is_closed_and_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        socket = db.address.unix_socket
        assert len(os.fsencode(socket)) <= 107
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert socket.stat().st_mode & 0o777 == 0o600


def test_two_experiments_at_once_do_not_touch_each_other() -> None:
    with Experiment("outer") as outer:
        first = outer.start(Orchestrator(module=()))
        job = outer.start(Application("a", FOREVER), database=first)
        with Experiment("inner") as inner:
            second = inner.start(Orchestrator(module=(), port=0))
            inner.start(Application("a", FOREVER), database=second)
        assert second.state is JobState.CANCELED
        assert (first.state, job.state) == (JobState.ACTIVE, JobState.ACTIVE)


def test_dry_run_prints_commands_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Experiment("e", launcher="dry_run") as exp:
        assert exp.dry_run
        db = exp.start(Orchestrator(shards=2))
        jobs = exp.start(Ensemble("m", ["sleep", "{s}"], grid={"s": [1, 2]}), database=db)
        exp.wait(jobs)
    said = capsys.readouterr().out
    assert "--cluster-enabled yes" in said and f"SSDB={db.address}" in said and "sleep 2" in said
    assert list(Path(tmp_path).iterdir()) == []


def test_preview_shows_what_runs_and_what_is_to_be_started(tmp_path: Path) -> None:
    with Experiment("e") as exp:
        first = exp.start(Application("first", FOREVER))
        preview = exp.preview(Orchestrator(shards=3), Ensemble("m", ["sleep", "{s}"], grid={"s": [1, 2]}))
        shown = {program["name"]: program for program in preview.as_json()["programs"]}
        assert list(shown) == ["first", "database_0", "database_1", "database_2", "m_0", "m_1"]
        assert shown["first"]["ranks"][0]["cores"] == list(first.placement.cores)
        assert "taskset" in shown["m_1"]["command"] and "sleep 2" in str(preview)
        assert not (exp.run_dir / "m_0").exists() and exp.jobs == (first,)
        with pytest.raises(ApplicationError, match="one of this name"):
            exp.preview(Application("x", FOREVER), Application("x", FOREVER))
        with pytest.raises(PlacementError, match=r"needs 99 core\(s\) for itself"):
            exp.preview(Application("x", FOREVER, resources=Resources(cores=99, exclusive=True)))
        with pytest.raises(UsageError, match="neither an Application"):
            exp.preview("x")
        first.stop()
        assert exp.preview().programs == ()
    with pytest.raises(UsageError, match="not running"):
        exp.preview()


def test_a_dry_run_that_fails_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ApplicationError), Experiment("e", launcher="dry_run") as exp:
        exp.start(Application("a", FOREVER))
        exp.start(Application("a", FOREVER))
    assert capsys.readouterr().out == ""


def wait_for_text(job, text):
    """Follow the log of a program until a text is there, or the program has ended."""
    while text not in job.log.read_text():
        assert not job.wait_ended(0.01), "it ended before"


def test_preview_counts_once_what_runs() -> None:
    most = this_host().memory_gb or 0.0
    nearly_half = Resources(memory_gb=0.45 * most)
    with Experiment("e") as exp:
        exp.start(Application("first", FOREVER, resources=nearly_half))
        second = Application("second", FOREVER, resources=nearly_half)
        assert [each["name"] for each in exp.preview(second).as_json()["programs"]] == ["first", "second"]
