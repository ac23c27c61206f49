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
