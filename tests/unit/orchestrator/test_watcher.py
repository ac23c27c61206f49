"""What belongs to a run, told by session and start time or by environment."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from orchestrator.watcher import (
    RUN_ID_VARIABLE,
    Session,
    belonging,
    carries,
    note_session,
    noted_sessions,
    read_stat,
    sweep,
    watch,
)


@contextmanager
def sleeper(**options):
    with subprocess.Popen(["sleep", "1000"], **options) as process:
        try:
            yield process
        finally:
            process.kill()


def with_id(run_id):
    return {**os.environ, RUN_ID_VARIABLE: run_id}


def test_a_session_and_a_variable_make_a_process_ours() -> None:
    with sleeper(start_new_session=True) as by_session, sleeper(env=with_id("r1")) as by_variable:
        session = Session(by_session.pid, read_stat(by_session.pid).start_time)
        assert set(belonging("r1", {session})) == {by_session.pid, by_variable.pid}
        assert sorted(sweep("r1", {session})) == sorted([by_session.pid, by_variable.pid])
        assert (by_session.wait(), by_variable.wait()) == (-9, -9)


def test_a_number_that_was_given_again_is_not_hit() -> None:
    with sleeper(start_new_session=True) as stranger:
        former = Session(stranger.pid, read_stat(stranger.pid).start_time - 1)
        assert list(belonging("r2", {former})) == []


def test_an_id_that_only_begins_alike_is_another_run() -> None:
    with sleeper(env=with_id("r3-more")) as other:
        assert list(belonging("r3", set())) == []
        assert carries(other.pid, "r3-more") and not carries(other.pid, "r3")


def test_who_asks_is_never_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Session(os.getsid(0), 0)
    assert os.getpid() not in set(belonging("r4", {own}))


def test_a_process_that_has_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert read_stat(process.pid) is None
    assert not carries(process.pid, "r5")
    assert sweep("r5", {Session(process.pid, 1)}) == []


@pytest.mark.parametrize(("message", "goodbye"), [(b"bye", True), (b"by", False), (b"", False)])
def test_a_closed_pipe_is_the_end_and_bye_is_a_good_one(message: bytes, goodbye: bool) -> None:
    read, write = os.pipe()
    os.write(write, message)
    os.close(write)
    assert watch(os.getpid(), read) is goodbye
    os.close(read)


def test_notes_of_sessions_are_read_as_often_as_wanted_while_more_are_written() -> None:
    notes = os.memfd_create("notes")
    try:
        assert noted_sessions(notes) == set()
        every = {Session(pid, 10**9 + pid) for pid in range(1, 2000)}
        for session in sorted(every):
            note_session(notes, session)
            assert session.leader % 500 or session in noted_sessions(notes)
        os.write(notes, b"77 ")  # the driver is killed while it notes one
        assert noted_sessions(notes) == every
    finally:
        os.close(notes)


def test_the_end_of_the_driver_is_seen_with_the_pipe_still_open() -> None:
    read, write = os.pipe()
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as driver:
        driver.kill()
        assert watch(driver.pid, read) is False
    os.close(read)
    os.close(write)
