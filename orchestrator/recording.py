"""Writing the record of a run, `run.json`, from which record.py reads."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.launchers.base import Job
from orchestrator.run_files import RunFiles
from orchestrator.watcher import read_stat


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


def _process(pid: int | None) -> dict[str, int | None]:
    stat = read_stat(pid) if pid is not None else None
    return {"pid": pid, "start_time": stat.start_time if stat is not None else None}


def _job(job: Job) -> dict[str, Any]:
    placement = job.placement
    alone = placement if placement is not None and len(placement.hosts) == 1 else None
    return {
        "name": job.name,
        "command": list(job.command),
        "pid": job.pid,
        "start_time": job.start_time,
        "cores": list(alone.cores) if alone is not None else None,
        "gpus": list(alone.gpus) if alone is not None else None,
        "ranks": [asdict(rank) for rank in placement.ranks] if placement is not None else None,
        "state": job.state.value,
        "returncode": job.returncode,
        "started": job.started,
        "ended": job.ended,
        "log": str(job.log),
    }
