"""The record of a run, `run.json`: what `penstock ps`, `logs`, `stop` and `db` know of it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import RunError
from orchestrator.launchers.base import Job
from orchestrator.run_files import (
    RunFiles,
    lock_is_held,
    read_record,
    registered_runs,
    replace_record,
)
from orchestrator.watcher import Session, read_stat


class RunRecord:
    """Writes the record of a run whenever something changes. Any thread may."""

    def __init__(self, experiment: str, files: RunFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._jobs: list[Job] = []
        self._facts: dict[str, Any] = {
            "run": files.run_id,
            "experiment": experiment,
            "state": "active",
            "error": None,
            "host": socket.gethostname(),
            "directory": str(files.directory),
            "runtime": str(files.runtime),
            "driver": _process(os.getpid()),
            "started": time.time(),
            "ended": None,
            "address": None,
        }

    def add(self, jobs: Sequence[Job]) -> None:
        """Note programs that were started, and write."""
        with self._lock:
            self._jobs.extend(jobs)
        self.write()

    def write(self, **facts: Any) -> None:
        """Note further facts, and write."""
        with self._lock:
            self._facts.update(facts)
            self._files.write_record({**self._facts, "jobs": [_job(job) for job in self._jobs]})


@dataclass(frozen=True)
class Run:
    """A run of this user, as its record tells.

    Attributes:
        run_id: its id.
        directory: its run directory.
        record: the record.
        alive: its driver runs: it holds the lock, and is the very process that the record names.
    """

    run_id: str
    directory: Path
    record: dict[str, Any]
    alive: bool

    @property
    def state(self) -> str:
        """The recorded state, or `lost` where the driver ended without recording its end."""
        state = str(self.record["state"])
        return "lost" if state == "active" and not self.alive else state

    def is_running(self, job: Mapping[str, Any]) -> bool:
        """Tell whether the process that a job's entry names is there; asked of the system, not the record."""
        stat = read_stat(job["pid"]) if job["pid"] is not None else None
        return stat is not None and stat.state not in "ZX" and stat.start_time == job["start_time"]

    def close(self) -> None:
        """Write the end that the driver could not: it was killed, and so was all it had started."""
        jobs = [job if job["ended"] else {**job, "state": "canceled"} for job in self.record["jobs"]]
        facts = {"state": "failed", "error": "the driver was killed", "ended": time.time(), "jobs": jobs}
        replace_record(self.directory, {**self.record, **facts})

    @property
    def runtime(self) -> Path:
        """Its runtime directory."""
        return Path(self.record["runtime"])

    @property
    def sessions(self) -> set[Session]:
        """The sessions of its programs."""
        known = [
            job for job in self.record["jobs"] if job["pid"] is not None and job["start_time"] is not None
        ]
        return {Session(job["pid"], job["start_time"]) for job in known}


def all_runs() -> list[Run]:
    """Return the runs of this user on this host, the newest first."""
    runs = [_run(run_id, directory) for run_id, directory in registered_runs()]
    return [run for run in runs if run.record["host"] == socket.gethostname()]


def find_run(run_id: str | None = None, *, alive: bool = False) -> Run:
    """Return the run with this id, or whose id begins so, or the newest one.

    Args:
        run_id: id or beginning of an id; the newest by default.
        alive: only one whose driver runs.

    Raises:
        RunError: there is none, or more than one.
    """
    runs = [run for run in all_runs() if run.alive or not alive]
    if run_id is not None:
        runs = [run for run in runs if run.run_id == run_id] or [
            run for run in runs if run.run_id.startswith(run_id)
        ]
        if len(runs) > 1:
            raise RunError(
                f"{run_id!r} is the beginning of: {', '.join(run.run_id for run in runs)}", run=run_id
            )
    if not runs:
        what = f"called {run_id!r}" if run_id is not None else "of yours"
        raise RunError(f"there is no {'active ' if alive else ''}run {what}", run=run_id or "")
    return runs[0]


def _run(run_id: str, directory: Path) -> Run:
    record = read_record(directory)
    driver = record["driver"]
    stat = read_stat(driver["pid"])
    same = stat is not None and stat.start_time == driver["start_time"]
    return Run(run_id, directory, record, same and lock_is_held(Path(record["runtime"]) / "driver.lock"))


def _process(pid: int | None) -> dict[str, int | None]:
    stat = read_stat(pid) if pid is not None else None
    return {"pid": pid, "start_time": stat.start_time if stat is not None else None}


def _job(job: Job) -> dict[str, Any]:
    placement = job.placement
    return {
        "name": job.name,
        "command": list(job.command),
        "pid": job.pid,
        "start_time": job.start_time,
        "cores": list(placement.cores) if placement is not None else None,
        "gpus": list(placement.gpus) if placement is not None else None,
        "state": job.state.value,
        "returncode": job.returncode,
        "started": job.started,
        "ended": job.ended,
        "log": str(job.log),
    }
