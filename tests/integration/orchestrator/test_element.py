"""One element of a job array, as Slurm would start it: here, on this host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.array_files import read_events, write_members
from orchestrator.run_files import RunFiles

POLICY = {"timeout_s": None, "retries": 0, "pause_s": 0}


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    """A run that is in the job 7; it has no record but what an element reads."""
    files = RunFiles.plan("toy", tmp_path / "run")
    files.directory.mkdir()
    files.write_record(json.dumps({"run": files.run_id, "batch": "7"}))
    return files


def run_element(files: RunFiles, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run the only element of the array, with a member m_0, … for each of these commands of sh."""
    members = [
        {"name": name, "command": ["sh", "-c", command], "environment": {}, "ranks": None, "parameters": {}}
        | {"directory": str(files.directory / name), "policy": POLICY}
        for name, command in ((f"m_{number}", command) for number, command in enumerate(commands))
    ]
    write_members(files.directory, members)
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.element", str(files.directory), "1"],
        env={**os.environ, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(files: RunFiles) -> dict[str, Any]:
    """Return the last state that was told of each member."""
    return {name: facts["state"] for name, facts in read_events(files.directory, 1, "7").items()}


def test_its_members_belong_to_this_element_of_this_array(files: RunFiles) -> None:
    """What an earlier array of the run has left on this host is ended without them."""
    done = run_element(files, "echo $PENSTOCK_RUN_ID")
    assert done.returncode == 0, done.stderr
    assert (files.directory / "m_0" / "log.txt").read_text() == f"{files.run_id}.7.0\n"
    assert told(files) == {"m_0": "completed"}


def test_on_a_full_disk_members_go_on_and_are_told_of_later(files: RunFiles) -> None:
    (files.directory / "elements").mkdir()
    (files.directory / "elements" / "0.jsonl").symlink_to("/dev/full")
    done = run_element(files, "true", "exit 3", "rm ../elements/0.jsonl")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("No space left on device") == 1, done.stderr
    assert told(files) == {"m_0": "completed", "m_1": "failed", "m_2": "completed"}


def test_what_could_never_be_told_is_named_at_the_end(files: RunFiles) -> None:
    (files.directory / "elements").mkdir()
    (files.directory / "elements" / "0.jsonl").symlink_to("/dev/full")
    done = run_element(files, "touch ran", "touch ran")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (files.directory / "m_1" / "ran").exists()
    said = "what became of m_0, m_1 could not be written: [Errno 28] No space left on device"
    assert said in done.stderr.splitlines()[-1]
