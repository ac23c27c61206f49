"""The paths of a run, and its record as others read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import RunError
from orchestrator.record import all_runs, find_run
from orchestrator.run_files import (
    LONGEST_IDENTIFIER,
    RunFiles,
    lock_is_held,
    read_record,
    registered_runs,
    registry,
    runtime_here,
    tail,
    take_lock,
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A state directory and a current directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A run whose directories are made."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    files = RunFiles.plan("heat")
    files.create()
    yield files
    files.remove_runtime()


def test_planning_makes_nothing(tmp_path: Path) -> None:
    files = RunFiles.plan("heat")
    assert files.directory.parent == tmp_path / "runs" / "heat"
    assert not files.directory.exists() and not files.runtime.exists() and not registry().exists()


def test_two_plans_never_meet() -> None:
    assert RunFiles.plan("heat").run_id != RunFiles.plan("heat").run_id


def test_socket_paths_are_short_enough_wherever_the_user_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert len(os.fsencode(RunFiles.plan("e" * 100).socket("database_" + "x" * LONGEST_IDENTIFIER))) <= 107


def test_no_place_for_sockets_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(RunError, match="short enough for a Unix socket"):
        RunFiles.plan("heat")


def test_directories_are_closed_to_others(files: RunFiles) -> None:
    assert files.runtime.stat().st_mode & 0o777 == 0o700
    assert registry().stat().st_mode & 0o777 == 0o700


def test_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file.*XDG_STATE_HOME"):
        RunFiles.plan("heat", tmp_path / "file" / "run").create()


def test_nothing_is_left_of_a_run_whose_registry_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    files = RunFiles.plan("heat", tmp_path / "run")
    with pytest.raises(RunError, match="XDG_STATE_HOME"):
        files.create()
    assert not files.runtime.exists() and not files.record.exists()


def test_of_two_runs_in_one_directory_only_one_gets_it(tmp_path: Path) -> None:
    """Both have looked before either has written."""
    first, second = (RunFiles.plan("heat", tmp_path / "run") for _ in range(2))
    first.create()
    with pytest.raises(RunError, match="holds a run already"):
        second.create()
    assert not second.runtime.exists()
    assert list(registered_runs()) == [], "a record that is not written yet is no run"
    first.write_record("{}")
    assert [run_id for run_id, _ in registered_runs()] == [first.run_id]
    first.remove_runtime()


def test_record_is_replaced_as_a_whole(files: RunFiles) -> None:
    files.write_record('{"a": 1}')
    files.write_record('{"a": 2}')
    assert read_record(files.directory) == {"a": 2}
    assert [path.name for path in files.directory.iterdir()] == ["run.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_record_that_is_none_is_named(files: RunFiles, text: Any) -> None:
    files.record.write_text(text)
    with pytest.raises(RunError, match=str(files.directory)):
        read_record(files.directory)


def test_runs_whose_directory_was_removed_are_left_out(files: RunFiles) -> None:
    files.write_record("{}")
    assert [run_id for run_id, _ in registered_runs()] == [files.run_id]
    files.record.unlink()
    assert list(registered_runs()) == []


def test_links_to_removed_runs_are_removed_by_the_next_run(files: RunFiles) -> None:
    link = registry() / files.run_id
    assert link.is_symlink()
    shutil.rmtree(files.directory)
    following = RunFiles.plan("heat")
    following.create()
    following.remove_runtime()
    assert [entry.name for entry in registry().iterdir()] == [following.run_id]


def test_a_removed_directory_that_is_used_again_holds_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    for number in range(3):
        files = RunFiles.plan("heat", tmp_path / "run")
        files.create()
        files.write_record(complete(files))
        files.remove_runtime()
        assert [run.run_id for run in all_runs()] == [files.run_id]
        assert [entry.name for entry in registry().iterdir()] == [files.run_id]
        if number < 2:
            shutil.rmtree(files.directory)


def test_of_two_links_to_one_directory_the_newer_is_its_run(files: RunFiles, tmp_path: Path) -> None:
    """As an earlier Penstock has left them; also where the directory has two names."""
    files.write_record(complete(files))
    (tmp_path / "alias").symlink_to(files.directory)
    for number, target in enumerate((files.directory, tmp_path / "alias")):
        link = registry() / f"heat-before-{number}"
        link.symlink_to(target)
        os.utime(link, (1, 1), follow_symlinks=False)
    assert [run.run_id for run in all_runs()] == [files.run_id]


def test_a_run_that_cannot_be_looked_at_is_named_and_kept(
    files: RunFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file system that hangs, or whose rights have changed: here it is a link that leads to itself."""
    files.write_record(complete(files))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (registry() / "heat-away").symlink_to(tmp_path / "loop" / "run")
    assert [run.run_id for run in all_runs()] == [files.run_id]
    assert f"the record of the run in {tmp_path}/loop/run cannot be read: " in capsys.readouterr().err
    other = RunFiles.plan("heat")
    other.create()
    other.remove_runtime()
    assert (registry() / "heat-away").is_symlink()


def test_lock_tells_whether_the_driver_lives(files: RunFiles) -> None:
    assert not lock_is_held(files.lock)
    held = take_lock(files.lock)
    assert lock_is_held(files.lock)
    with pytest.raises(BlockingIOError):
        take_lock(files.lock)
    os.close(held)
    assert not lock_is_held(files.lock)


def test_tail_is_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("".join(f"{n}\n" for n in range(10_000)))
    assert tail(log, 3) == "9997\n9998\n9999"
    log.write_bytes(b"\xff\xfe\n")
    assert tail(log) == "\ufffd\ufffd"
    assert tail(tmp_path / "nowhere") == ""


def complete(files, **facts):
    """The record of a run that has ended, as text."""
    record = {
        "run": files.run_id,
        "experiment": "heat",
        "state": "completed",
        "error": None,
        "host": socket.gethostname(),
        "directory": str(files.directory),
        "runtime": str(files.runtime),
        "driver": {"pid": os.getpid(), "start_time": 1},
        "started": 1.0,
        "ended": 2.0,
        "address": None,
        "jobs": [],
        **facts,
    }
    return json.dumps(record)


def test_tail_ends_where_a_pattern_begins(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("1\n2\n3\n=== END ===\n" + "report\n" * 10_000)
    assert tail(log, 2, until=r"=== \w+ ===") == "2\n3"


def test_runs_are_found_by_the_beginning_of_their_id(files: RunFiles) -> None:
    other = RunFiles.plan("heat")
    other.create()
    for each in (files, other):
        each.write_record(complete(each))
    assert len(all_runs()) == 2 and not any(run.alive for run in all_runs())
    assert find_run(files.run_id).directory == files.directory
    with pytest.raises(RunError, match="beginning of: heat-"):
        find_run("heat")
    with pytest.raises(RunError, match="no run called 'cold'"):
        find_run("cold")
    for name in (None, find_run().run_id):
        with pytest.raises(RunError, match=rf"no active .*; {find_run().run_id} has ended \(completed, 19"):
            find_run(name, alive=True)
    other.write_record(complete(other, state="active", ended=None))
    with pytest.raises(RunError, match=f"cleans up after what was lost: {other.run_id}"):
        find_run(alive=True)
    other.remove_runtime()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ("{}", "run: Field required"),
        (b"\xff\xfe", "cannot be read"),
        ({"driver": {"pid": "many", "start_time": 1}}, r"driver\.pid"),
        ({"runtime": 3}, "runtime"),
        ({"jobs": [{"name": "solver"}]}, r"jobs\.0\.command"),
    ],
)
def test_a_damaged_record_is_named_and_hides_no_other_run(
    files: RunFiles, capsys: pytest.CaptureFixture[str], text: Any, named: str
) -> None:
    other = RunFiles.plan("heat")
    other.create()
    other.write_record(complete(other))
    if isinstance(text, dict):
        files.write_record(complete(files, **text))
    else:
        files.record.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert [run.run_id for run in all_runs()] == [other.run_id]
    said = capsys.readouterr().err
    assert re.search(named, said) and said.count(str(files.directory)) == 1
    other.remove_runtime()


def test_facts_of_a_later_penstock_survive_the_closing_of_a_lost_run(files: RunFiles) -> None:
    files.write_record(complete(files, state="active", ended=None, weather="fine"))
    (run,) = all_runs()
    assert run.state == "lost"
    run.close()
    record = read_record(files.directory)
    assert (record["weather"], record["state"], record["error"]) == (
        "fine",
        "failed",
        "the driver was killed",
    )


def test_another_host_has_the_runtime_directory_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    assert runtime_here(tmp_path / "penstock-1") == tmp_path / "penstock-1"
    assert runtime_here(Path("/nowhere/penstock-1")) == Path("/tmp/penstock-1")
    assert not (tmp_path / "penstock-1").exists()


def test_another_host_without_any_room_for_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(RunError, match="no directory is short enough"):
        runtime_here(Path("/nowhere/penstock-1"))


def test_no_job_is_submitted_for_a_run_that_cannot_be_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    files = RunFiles.plan("heat", tmp_path / "run")
    with pytest.raises(RunError, match="cannot be made"):
        files.create_queued("#!/bin/sh", lambda: pytest.fail("submitted"))
    assert not files.record.exists()


def test_nothing_is_left_of_a_run_that_is_not_submitted(tmp_path: Path) -> None:
    def refuse() -> str:
        raise RunError("no such partition", run="heat")

    files = RunFiles.plan("heat", tmp_path / "run")
    with pytest.raises(RunError, match="partition"):
        files.create_queued("#!/bin/sh", refuse)
    assert not files.record.exists() and not (registry() / files.run_id).is_symlink()
    assert files.create_queued("#!/bin/sh", lambda: "7") == "7"
    assert (registry() / files.run_id).is_symlink()
