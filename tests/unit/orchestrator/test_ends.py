"""The ends of processes, heard by event on the thread that asks."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest

from orchestrator.launchers.ends import Ends

DEADLINE_S = 30.0


@pytest.fixture
def ends():
    ends = Ends()
    yield ends
    ends.close()


def held() -> subprocess.Popen[bytes]:
    """A process that ends when its input is closed."""
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes]) -> None:
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def call(functions: list[Callable[[], None]]) -> None:
    for each in functions:
        each()


def test_a_process_that_is_not_there_is_refused(ends: Ends) -> None:
    with held() as process:
        pass
    with pytest.raises(ProcessLookupError):
        ends.watch(process.pid, lambda: None)


def test_who_is_closed_is_woken_no_more() -> None:
    """Its descriptor may be somebody else's file by now."""
    ends = Ends()
    ends.close()
    with pytest.raises(ValueError, match="negative"):
        ends.wake()


def test_each_end_is_heard_once_and_before_the_process_is_reaped(ends: Ends) -> None:
    heard: list[tuple[int, int]] = []
    with held() as first, held() as second:
        for process in (first, second):
            ends.watch(process.pid, lambda process=process: heard.append((process.pid, process.wait())))
        assert ends.hear(0.0) == []
        end(second)
        call(ends.hear(DEADLINE_S))
        assert heard == [(second.pid, 0)]
        first.send_signal(signal.SIGKILL)
        call(ends.hear(DEADLINE_S))
        assert heard[1:] == [(first.pid, -signal.SIGKILL)]
        assert ends.hear(0.0) == []


def test_an_end_is_heard_once_although_a_child_has_a_copy_of_its_descriptor(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one has that is just being started: then the kernel goes on to tell of what was closed here."""
    heard: list[int] = []
    opened: list[int] = []
    pidfd_open = os.pidfd_open
    monkeypatch.setattr(os, "pidfd_open", lambda pid: opened.append(pidfd_open(pid)) or opened[-1])
    with held() as process:
        ends.watch(process.pid, lambda: heard.append(process.wait()))
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=opened) as copy:
            end(process)
            call(ends.hear(DEADLINE_S))
            assert ends.hear(0.0) == []
            assert heard == [0]
            copy.stdin.close()


def test_who_waits_is_woken_and_who_will_wait_is_too(ends: Ends) -> None:
    hearing = threading.Thread(target=ends.hear)
    hearing.start()
    ends.wake()
    hearing.join(DEADLINE_S)
    assert not hearing.is_alive()
    ends.wake()
    ends.wake()
    ends.hear()  # one may have been heard already by that thread


def test_a_process_that_joins_while_somebody_waits_is_heard(ends: Ends) -> None:
    heard = threading.Event()
    hearing = threading.Thread(target=lambda: call(ends.hear()))
    hearing.start()
    with held() as process:
        ends.watch(process.pid, heard.set)
        end(process)
        assert heard.wait(DEADLINE_S)
        hearing.join()
