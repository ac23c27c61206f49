"""The contract that every launcher keeps."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import pytest

from orchestrator.errors import UsageError
from orchestrator.launchers.base import JobState, Launch, Launcher
from orchestrator.launchers.table import LAUNCHERS, find_launcher
from orchestrator.placement import Placement, RankPlacement


@pytest.fixture(params=LAUNCHERS)
def launcher(request):
    """Each launcher there is."""
    launcher = find_launcher(request.param)(lambda pid: None)
    yield launcher
    launcher.close()


@pytest.fixture
def launch(tmp_path):
    """Describe a Python program to launch."""

    def describe(text="pass", **options):
        directory = tmp_path / "job"
        return Launch(
            "job", [sys.executable, "-c", text], directory, directory / "log.txt", {"X": "1"}, **options
        )

    return describe


def test_name_is_that_of_the_table(launcher: Launcher) -> None:
    assert LAUNCHERS[launcher.name] is type(launcher)


def test_it_has_cores_to_give(launcher: Launcher) -> None:
    assert launcher.inventory().core_count


def test_a_good_program_is_completed(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    job = launcher.start(launch())
    assert job.wait(30) is JobState.COMPLETED
    assert (job.name, job.returncode) == ("job", 0)
    assert job.command == tuple(launch().command)
    assert job.started is not None and job.ended >= job.started


def test_a_program_of_several_calls_is_told_once(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    ended = []
    job = launcher.start(launch())
    job.when_ended(ended.append)
    job.wait(30)
    job.when_ended(ended.append)
    while len(ended) < 2:
        assert job.wait_ended(0.01)
    assert ended == [job, job]


def test_a_listener_that_raises_keeps_nothing_from_others(
    launcher: Launcher, launch: Callable[..., Launch]
) -> None:
    heard = threading.Event()
    job = launcher.start(launch("import time; time.sleep(1000)"))
    if launcher.dry:  # its Jobs have ended before anybody can listen
        with pytest.raises(ZeroDivisionError):
            job.when_ended(broken)
        return
    job.when_ended(lambda _: heard.set())
    job.when_ended(broken)
    job.stop()
    assert heard.wait(30)
    assert isinstance(job.listener_error, ZeroDivisionError)
    again = launcher.start(launch())
    assert again.wait_ended(30), "the launcher sees no end any more"


def broken(job):
    raise ZeroDivisionError("in a listener")


def test_stopping_what_has_ended_is_harmless(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    job = launcher.start(launch())
    job.wait(30)
    job.stop()
    assert job.state is JobState.COMPLETED


def test_stopped_program_is_final(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    job = launcher.start(launch("import time; time.sleep(1000)"))
    job.stop()
    assert job.state.final and job.state is not JobState.FAILED


def test_only_a_dry_launcher_starts_nothing(launcher: Launcher, launch: Callable[..., Launch]) -> None:
    described = launch(
        "import os; print(os.environ['X'], sorted(os.sched_getaffinity(0)))",
        placement=Placement((RankPlacement(os.uname().nodename, (0,)),)),
    )
    launcher.start(described).wait(30)
    assert described.log.exists() is not launcher.dry
    if not launcher.dry:
        assert described.log.read_text() == "1 [0]\n"


def test_unknown_launcher_is_refused() -> None:
    with pytest.raises(UsageError, match="no launcher 'k8s'"):
        find_launcher("k8s")
