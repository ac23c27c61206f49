"""Writing the record of a run, `run.json`, from which record.py reads.

The record is replaced as a whole, so with thousands of programs it is not written for each of their starts
and ends: at most one write begins each `INTERVAL_S`, and a change that comes sooner is written by a thread
when that time is over. What a driver that is killed has not recorded yet is therefore no older than that.
Nothing polls: the thread sleeps until there is a change.

A program is one line of the file, kept as text until it starts, ends or is tried again.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import RunError
from orchestrator.launchers.base import Job
from orchestrator.placement import RankPlacement
from orchestrator.progress import say
from orchestrator.run_files import BEFORE, QUEUED, RunFiles
from orchestrator.schedulers.table import BatchJob, job_here
from orchestrator.slurm import jobs_here
from orchestrator.watcher import read_stat

INTERVAL_S = 0.1
"""Between the beginnings of two writes that nobody asked for by name."""


def write_queued(
    experiment: str,
    files: RunFiles,
    job: BatchJob,
    *,
    array: int | None = None,
    jobs: Sequence[Mapping[str, Any]] = (),
    earlier: Mapping[str, Any] | None = None,
) -> None:
    """Write the record of a run whose driver will be a batch job; the driver replaces it.

    Args:
        experiment: its name.
        files: of the run.
        job: the batch job.
        array: how many elements it has, where it is an array that runs these programs without a driver.
        jobs: the programs, where they are known before.
        earlier: the record of the run before it is resumed, which comes back where the job never begins.

    Raises:
        RunError: it cannot be written.
    """
    facts: dict[str, Any] = {
        "run": files.run_id,
        "experiment": experiment,
        "state": QUEUED,
        "error": None,
        "host": socket.gethostname(),
        "directory": str(files.directory),
        "runtime": str(files.runtime),
        "driver": None,
        "started": time.time(),
        "ended": None,
        "address": None,
        "batch": job.number,
        "scheduler": job.scheduler.name,
        **({"array": array} if array is not None else {}),
    }
    if earlier is not None:
        before = {name: earlier[name] for name in facts if name in earlier}
        facts = {**earlier, **facts, BEFORE: before}
        jobs = facts.pop("jobs")
    files.write_record(_record_text(facts, [json.dumps(each, default=str) for each in jobs]))


class RunRecord:
    """Writes the record of a run soon after something has changed. Any thread may tell it.

    Args:
        experiment: its name.
        files: of the run.
        source: what it is made from.
        earlier: the record of the run before it was resumed. Its programs stay in the record until they are
            asked for again.
    """

    def __init__(
        self,
        experiment: str,
        files: RunFiles,
        source: Mapping[str, Any] | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        self._files = files
        self._writing = threading.Lock()  # one write at a time; taken before _lock
        self._lock = threading.RLock()  # taken itself: a signal cannot come between taking and holding it
        self._changed = threading.Condition(self._lock)
        self._dirty = False
        self._closed = False
        self._written = -INTERVAL_S
        self._thread: threading.Thread | None = None
        self._jobs: list[Job] = []
        self._lines: dict[str, tuple[object, str]] = {}
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
            **_batch(files.batch),
            "allocation": jobs_here() or None,
            "source": source,
        }
        self._earlier: dict[str, str] = {}
        if earlier is not None:
            past = {name: earlier.get(name) for name in ("run", "state", "error", "started", "ended")}
            self._facts["resumed"] = [*earlier.get("resumed", []), past]
            self._earlier = {job["name"]: json.dumps(job) for job in earlier["jobs"]}

    def how_to_go_on(self) -> str:
        """Return what to tell somebody who has interrupted the run."""
        run_id = self._facts["run"]
        hint = "" if self._facts["source"] is None else f"; to go on: penstock run --resume {run_id}"
        return f"the run {run_id} was interrupted{hint}"

    def add(self, jobs: Sequence[Job]) -> None:
        """Note programs that are being started."""
        with self._lock:
            self._jobs.extend(jobs)
            for job in jobs:
                self._earlier.pop(job.name, None)
        self.touch()

    def touch(self) -> None:
        """Have it written soon: something has become of a program. Returns at once."""
        with self._lock:
            if self._dirty:
                return
            self._dirty = True
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._keep, name="penstock-record", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def note(self, **facts: Any) -> None:
        """Note further facts, and have them written soon. Returns at once."""
        with self._lock:
            self._facts.update(facts)
        self.touch()

    def write(self, **facts: Any) -> None:
        """Note further facts, and write now.

        Raises:
            RunError: it cannot be written.
        """
        with self._writing:
            with self._lock:
                self._facts.update(facts)
                self._dirty = False
                self._written = time.monotonic()
                text = self._text()
            self._files.write_record(text)

    def flush(self, **facts: Any) -> None:
        """Note further facts, and write what has changed. The run goes on whatever happens to the disk."""
        with self._lock:
            dirty = self._dirty or bool(facts)
        try:
            if dirty:
                self.write(**facts)
        except RunError as error:
            say(str(error))

    def close(self, **facts: Any) -> None:
        """Write for the last time.

        Raises:
            RunError: it cannot be written.
        """
        with self._lock:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.write(**facts)

    def _keep(self) -> None:
        while self._await_change():
            self.flush()

    def _await_change(self) -> bool:
        """Wait until a write is due; return False when there will be no more."""
        with self._lock:
            while not self._closed:
                left = self._written + INTERVAL_S - time.monotonic() if self._dirty else None
                if left is not None and left <= 0:
                    return True
                self._changed.wait(left)
            return False

    def _text(self) -> str:
        return _record_text(self._facts, (*self._earlier.values(), *map(self._line, self._jobs)))

    def _line(self, job: Job) -> str:
        stands = (job.state, job.attempts)  # asked first: what changes while the line is made is in the next
        known = self._lines.get(job.name)
        if known is not None and known[0] == stands:
            return known[1]
        line = json.dumps(job_facts(job), default=str)  # a parameter may be a Path
        self._lines[job.name] = (stands, line)
        return line


def _record_text(facts: Mapping[str, Any], jobs: Sequence[str]) -> str:
    """Return a record as JSON, each of its programs, given as JSON, on a line."""
    head = json.dumps(facts, indent=2, default=str).removesuffix("\n}")
    lines = ",\n".join(f"    {line}" for line in jobs)
    return f'{head},\n  "jobs": [\n{lines}\n  ]\n}}\n'


def _batch(number: str | None) -> dict[str, str | None]:
    here = job_here() if number is not None else None
    return {"batch": number, **({"scheduler": here.scheduler.name} if here is not None else {})}


def _process(pid: int | None) -> dict[str, int | None]:
    stat = read_stat(pid) if pid is not None else None
    return {"pid": pid, "start_time": stat.start_time if stat is not None else None}


def _rank(rank: RankPlacement) -> dict[str, Any]:
    return {"host": rank.host, "cores": rank.cores, "gpus": rank.gpus}


def job_facts(job: Job) -> dict[str, Any]:
    """Return a program as the record has it."""
    placement = job.placement
    alone = placement if placement is not None and len(placement.hosts) == 1 else None
    return {
        "name": job.name,
        "command": list(job.command),
        "pid": job.pid,
        "start_time": job.start_time,
        "cores": list(alone.cores) if alone is not None else None,
        "gpus": list(alone.gpus) if alone is not None else None,
        "ranks": [_rank(rank) for rank in placement.ranks] if placement is not None else None,
        "beside": [_rank(each) for each in placement.beside] if placement is not None else [],
        "state": job.state.value,
        "returncode": job.returncode,
        "started": job.started,
        "ended": job.ended,
        "log": str(job.log),
        "attempts": job.attempts,
        "reason": job.reason,
        "parameters": dict(job.parameters),
        **({"files": [each.as_json() for each in job.launch.inputs]} if job.launch.inputs else {}),
    }
