"""A run that was submitted as a job array, and stand-ins for the commands of Slurm that it meets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.array_files import append_event, write_members
from orchestrator.run_files import RunFiles

JOB = "7"
MEMBERS = ("m_0", "m_1", "m_2")


def member(name: str, **facts: Any) -> dict[str, Any]:
    """Return a program as a record has it that was submitted."""
    nothing = ("pid", "start_time", "cores", "gpus", "returncode", "started", "ended")
    known = {"name": name, "command": ["true"], "state": "queued", "log": f"/r/{name}/log.txt", "element": 0}
    return {**dict.fromkeys(nothing), **known, **facts}


def array_run(directory: Path, **facts: Any) -> RunFiles:
    """Make a run whose job 7 is an array of two elements with three members, and return its paths."""
    files = RunFiles.plan("toy", directory)
    files.create_queued("#!/bin/sh\n#SBATCH --array=0-1\nexec element 2\n", lambda: JOB)
    known = {"run": files.run_id, "experiment": "toy", "state": "queued", "error": None, "host": "login"}
    known |= {"directory": str(files.directory), "runtime": str(files.runtime), "driver": None}
    known |= {"started": 1.0, "ended": None, "address": None, "batch": JOB, "array": 2}
    jobs = [member(name, element=number % 2) for number, name in enumerate(MEMBERS)]
    files.write_record(json.dumps({**known, "jobs": jobs, **facts}))
    write_members(directory, [described(name, directory) for name in MEMBERS])
    return files


def described(name: str, directory: Path) -> dict[str, Any]:
    """Return a member of a run in a directory as its element reads it."""
    policy = {"timeout_s": None, "retries": 0, "pause_s": 0.0}
    facts = {"name": name, "command": ["true"], "directory": str(directory / name), "policy": policy}
    return {**facts, "environment": {}, "ranks": None, "parameters": {}}


def tell(files: RunFiles, name: str, state: str, job: str = JOB) -> None:
    """Let an element of a job tell that a member has ended."""
    element = MEMBERS.index(name) % 2
    ended = {"state": state, "started": 2.0, "ended": 3.0, "batch": job}
    append_event(files.directory, element, member(name, element=element, **ended))


class Slurm:
    """Commands that note how they are called, one line each; a test writes what one does.

    At first sbatch gives the number 8, squeue knows no job, and the others do as they are told.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        for name in ("sbatch", "scontrol", "scancel", "squeue", "sinfo"):
            self.does(name, "echo 8" if name == "sbatch" else "true")

    def does(self, name: str, does: str) -> None:
        """Let a command do this, in sh, once it has read its input."""
        program = self._directory / name
        program.write_text(
            f'#!/bin/sh\ncat > /dev/null\necho "{name} $*" >> {self._directory}/asked\n{does}\n'
        )
        program.chmod(0o755)

    def asked(self, *names: str) -> list[str]:
        """Return how these commands were called so far."""
        file = self._directory / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] in names and "--test-only" not in line]
