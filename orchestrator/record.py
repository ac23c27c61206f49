"""The record of a run, `run.json`, as it is read: what `penstock ps`, `logs`, `stop` and `db` know of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError, model_validator

from orchestrator.array_files import all_ended, merged, read_events
from orchestrator.entries import Entry, JobEntry, ProcessEntry, damage
from orchestrator.errors import RunError, SchedulerError, UsageError
from orchestrator.node import Node
from orchestrator.progress import say
from orchestrator.redis_config import Endpoint
from orchestrator.run_files import (
    OUT_OF_TIME,
    QUEUED,
    RECORD,
    as_it_was,
    lock_is_held,
    read_record,
    registered_runs,
    replace_record,
)
from orchestrator.schedulers.arrays import elements_of, summary
from orchestrator.schedulers.base import JobStatus
from orchestrator.schedulers.table import find_scheduler, job_here
from orchestrator.watcher import Session, read_stat

UNENDED = (QUEUED, "active", "lost")
"""What a run is in of which something may still be running."""
RESUMABLE = ("failed", "interrupted", OUT_OF_TIME, "lost")


class NodeEntry(Entry):
    """One server of a database, as a Node names its facts."""

    name: str
    shard: int
    host: str
    port: int
    unix_socket: Path | None
    directory: Path
    slots: tuple[int, int] | None
    replica: int
    identity: str

    @classmethod
    def of(cls, node: Node) -> NodeEntry:
        """Return the entry of a node."""
        facts = {name: getattr(node, name) for name in ("name", "shard", "directory", "replica", "identity")}
        slots = (node.slots.start, node.slots.stop - 1) if node.slots is not None else None
        return cls(**facts, **asdict(node.endpoint), slots=slots)

    def node(self) -> Node:
        """Return the node."""
        return Node(
            self.name,
            self.shard,
            Endpoint(self.host, self.port, self.unix_socket),
            self.directory,
            range(self.slots[0], self.slots[1] + 1) if self.slots is not None else None,
            self.replica,
            self.identity,
        )


class DatabaseEntry(Entry):
    """A database; `environment` has the variables by which a program finds it."""

    identifier: str
    environment: dict[str, str]
    nodes: list[NodeEntry] = Field(default_factory=list)


class SourceEntry(Entry):
    """What a run was made from.

    Attributes:
        experiment: the directory.
        quick, overrides, launcher, mpiexec, time_limit_s, stop_before_s, checkpoint_s: its options.
        config: the configuration that followed.
        script: the checksum of run.py.
        commit: of the repository that the directory is in; None where it is in none.
    """

    experiment: Path
    quick: bool
    overrides: list[str]
    launcher: str | None
    mpiexec: str | None
    time_limit_s: float | None = None
    stop_before_s: float | None = None
    checkpoint_s: float | None = None
    config: dict[str, Any]
    script: str
    commit: str | None = None


class LifeEntry(Entry):
    """What a run was before it was resumed."""

    started: float | None = None


class RunEntry(Entry):
    """A whole record.

    Attributes:
        driver: None as long as a run waits for its batch job.
        started: or queued.
        address: the variables by which a program finds the first database.
        batch: the number of the batch job that its driver is.
        scheduler: of that job.
        array: how many elements it has, where its programs are members of a job array, without a driver.
        allocation: the numbers, with commas, of the jobs in whose allocation it runs.
        source: what it was made from; None where it was not started by `penstock run` or `run_script`.
        before: what the record said before the run was queued to be resumed.
        resumed: its lives before this one, the first one first.
    """

    run: str
    experiment: str
    state: str
    error: str | None
    host: str
    directory: Path
    runtime: Path
    driver: ProcessEntry | None
    started: float
    ended: float | None
    address: dict[str, str] | None
    batch: str | None = None
    scheduler: str = "slurm"
    array: int | None = Field(default=None, gt=0)
    allocation: str | None = None
    databases: list[DatabaseEntry] = Field(default_factory=list)
    source: SourceEntry | None = None
    before: dict[str, Any] | None = None
    resumed: list[LifeEntry] = Field(default_factory=list)
    jobs: list[JobEntry]

    @model_validator(mode="after")
    def _is_whole(self) -> RunEntry:
        if self.array is not None and self.batch is None:
            raise ValueError("a job array has the number of its job")
        if self.array is not None and (not self.jobs or any(job.element is None for job in self.jobs)):
            raise ValueError("a job array has members, each with its element")
        return self


@dataclass(frozen=True)
class Run:
    """A run of this user, as its record tells.

    Attributes:
        run_id: its id.
        directory: its run directory.
        record: the record.
        alive: its driver runs: it holds the lock, and is the very process that the record names. Where that
            is a batch job on another host, the batch system says that it runs.
        job: where that batch job stands; None where it has ended, or there is none, or it was not asked.
    """

    run_id: str
    directory: Path
    record: RunEntry
    alive: bool
    job: JobStatus | None = None

    @property
    def state(self) -> str:
        """The recorded state, or `lost` where the driver ended without recording its end."""
        gone = {"active": not self.alive, QUEUED: self.job is None}
        return "lost" if gone.get(self.record.state) else self.record.state

    @property
    def resumable(self) -> bool:
        """Whether it has ended, has not completed, and is known how to start again."""
        if self.record.array is not None:
            return self.state in (*RESUMABLE, "canceled")
        return self.record.source is not None and self.state in RESUMABLE

    @property
    def is_here(self) -> bool:
        """Whether its driver is a process of this host."""
        return self.record.driver is not None and self.record.host == socket.gethostname()

    @property
    def runtime(self) -> Path:
        """Its runtime directory."""
        return self.record.runtime

    def database(self, identifier: str = "") -> DatabaseEntry:
        """Return one of its databases, by default the one without an identifier, else the first.

        Raises:
            RunError: it has none, or none of this identifier; names those it has.
        """
        databases = self.record.databases
        if not databases:
            raise RunError(f"the run {self.run_id} has no database", run=self.run_id)
        found = next((each for each in databases if each.identifier == identifier), None)
        if found is None and identifier:
            known = ", ".join(each.identifier or "one without an identifier" for each in databases)
            raise RunError(
                f"the run {self.run_id} has no database {identifier!r}; it has: {known}", run=self.run_id
            )
        return found or databases[0]

    @property
    def sessions(self) -> set[Session]:
        """The sessions of its programs."""
        return {
            Session(job.pid, job.start_time)
            for job in self.record.jobs
            if job.pid is not None and job.start_time is not None
        }

    def as_json(self) -> dict[str, Any]:
        """Return the record with the true state."""
        job = {} if self.job is None else {"job": self.job._asdict()}
        facts = {"state": self.state, "resumable": self.resumable}
        return {**self.record.model_dump(mode="json"), **facts, **job}

    def as_it_was(self) -> Run:
        """Return the run before it was queued to be resumed."""
        record = _read(as_it_was(self.record.model_dump(mode="json")), self.directory, self.run_id)
        return replace(self, run_id=record.run, record=record, alive=False, job=None)

    def again(self) -> Run:
        """Return what the record tells now.

        Raises:
            RunError: it cannot be read any more.
        """
        return _run(self.run_id, self.directory)

    def close(self, state: str = "failed", error: str = "the driver was killed") -> None:
        """Write the end that the driver could not: it was killed or never began, and nothing of it runs.

        A run that was queued to be resumed is again what it was before.
        """
        record = self.record.model_dump(mode="json")
        if self.record.before is not None:
            replace_record(
                self.directory, json.dumps({**as_it_was(record), "run": self.run_id}, indent=2) + "\n"
            )
            return
        for job in record["jobs"]:
            job["state"] = job["state"] if job["ended"] else "canceled"
        facts = {"state": state, "error": error, "ended": time.time()}
        replace_record(self.directory, json.dumps({**record, **facts}, indent=2) + "\n")


class Known(NamedTuple):
    """What is known of the runs of this user on this host or by batch job.

    Attributes:
        runs: the newest first.
        left_out: the ids of those that may still run: their records are damaged, or their batch system cannot
            be asked. Why has been said.
    """

    runs: list[Run]
    left_out: list[str]


def known_runs() -> Known:
    """Look at the runs of this user, and say of each that is left out why."""
    known = Known([], [])
    jobs = _asked_once()
    for run_id, directory in registered_runs():
        try:
            run = _run(run_id, directory, jobs)
        except (RunError, SchedulerError, UsageError) as error:
            hint = ". If nothing of it runs, remove its directory" if isinstance(error, RunError) else ""
            say(f"{error}; the run {run_id} is left out{hint}")
            known.left_out.append(run_id)
        else:
            if run.record.host == socket.gethostname() or run.record.batch:
                known.runs.append(run)
    return known


def all_runs() -> list[Run]:
    """Return the runs that `known_runs` can tell of."""
    return known_runs().runs


def find_run(run_id: str | None = None, *, alive: bool = False, unended: bool = False) -> Run:
    """Return the run with this id, or whose id begins so, or the newest one.

    Args:
        run_id: id or beginning of an id of one run only; the newest by default.
        alive: only one whose driver runs.
        unended: of several whose ids begin so, those that have not ended are meant.

    Raises:
        RunError: there is none, or more than one; or nothing can be told of it.
    """
    known, left_out = known_runs()
    runs = [run for run in known if run.alive or not alive]
    if run_id is not None:
        may_run = {run.run_id for run in runs if run.state in UNENDED}.union(left_out) if unended else set()
        meant = _called(run_id, [*(run.run_id for run in runs), *left_out], may_run)
        if meant in left_out:
            raise RunError(f"nothing can be told of the run {meant}, for the reason above", run=meant or "")
        runs = [run for run in runs if run.run_id == meant]
    if not runs:
        what = f"called {run_id!r}" if run_id is not None else "of yours"
        text = f"there is no {'active ' if alive else ''}run {what}"
        raise RunError(text + (_hint(run_id, known) if alive else ""), run=run_id or "")
    return runs[0]


def _hint(run_id: str | None, known: Sequence[Run]) -> str:
    """Say of the run that was meant and is not active how it stands, and what can still be read of it."""
    lost = ", ".join(run.run_id for run in known if run.state == "lost")
    if lost:
        return f"; `penstock stop` cleans up after what was lost: {lost}"
    meant = known if run_id is None else [run for run in known if run.run_id.startswith(run_id)]
    if not meant:
        return ""
    run, state = meant[0], meant[0].state.replace("_", " ")
    if run.record.ended is None:
        return f"; {run.run_id} is {state}"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.record.ended))
    return (
        f"; {run.run_id} has ended ({state}, {at}), and its database with it. What its programs wrote is in "
        f"{run.directory}; `penstock report {run.run_id}` shows its models, `penstock ps --all` all runs"
    )


def _called(name: str, run_ids: Sequence[str], rather: Container[str]) -> str | None:
    """Return the id that this is, or the beginning of; None where there is none.

    Args:
        rather: of several that begin so, these are meant if any of them is among them.

    Raises:
        RunError: it is the beginning of several.
    """
    found = [name] if name in run_ids else [run_id for run_id in run_ids if run_id.startswith(name)]
    if len(found) > 1:
        found = [run_id for run_id in found if run_id in rather] or found
    if len(found) > 1:
        raise RunError(f"{name!r} is the beginning of: {', '.join(found)}", run=name)
    return found[0] if found else None


def run_at(directory: Path) -> Run:
    """Return the run whose directory this is.

    Raises:
        RunError: there is none in it, or its record cannot be read.
    """
    if not (directory / RECORD).exists():
        raise RunError(f"there is no run in {directory}: it has no {RECORD}")
    return _run(str(read_record(directory).get("run")), directory)


def jobs_of(scheduler: str) -> Mapping[str, JobStatus]:
    """Return where the jobs of this user stand that have not ended, as a scheduler of this name tells."""
    return find_scheduler(scheduler).jobs()


def _asked_once() -> Callable[[str], Mapping[str, JobStatus]]:
    """Return `jobs_of`, which asks each scheduler once, also one that takes its time and does not answer."""
    answers: dict[str, Mapping[str, JobStatus] | SchedulerError] = {}

    def asked(scheduler: str) -> Mapping[str, JobStatus]:
        if scheduler not in answers:
            try:
                answers[scheduler] = jobs_of(scheduler)
            except SchedulerError as error:
                answers[scheduler] = error
        answer = answers[scheduler]
        if isinstance(answer, SchedulerError):
            raise answer
        return answer

    return asked


def _as_left(record: RunEntry, directory: Path) -> tuple[dict[str, Any], JobStatus | None]:
    """Return the record of an array as its elements have left it, and where it stands.

    Slurm is asked first: an element that ends meanwhile has told of its members before.
    """
    facts, elements, job = record.model_dump(), record.array or 0, record.batch or ""
    ended = all_ended(facts, read_events(directory, elements, job))
    alive = {} if ended else elements_of(job)
    return merged(facts, read_events(directory, elements, job), alive), summary(alive)


def _run(run_id: str, directory: Path, jobs: Callable[[str], Mapping[str, JobStatus]] = jobs_of) -> Run:
    """Return a run. Its driver writes its end before it goes: who seems lost may have ended meanwhile."""
    run = _as_recorded(run_id, directory, jobs)
    return _as_recorded(run_id, directory, jobs) if run.state == "lost" else run


def _as_recorded(run_id: str, directory: Path, jobs: Callable[[str], Mapping[str, JobStatus]]) -> Run:
    record = _read(read_record(directory), directory, run_id)
    if record.array is not None:
        if record.ended is not None:
            return Run(run_id, directory, record, alive=False)
        left, job = _as_left(record, directory)
        return Run(run_id, directory, _read(left, directory, run_id), job is not None, job)
    if record.batch is None or record.ended is not None:
        return Run(run_id, directory, record, _is_alive(record))
    # the job that asks need ask nobody
    job = JobStatus("RUNNING", runs=True) if _is_own_job(record) else jobs(record.scheduler).get(record.batch)
    run = Run(run_id, directory, record, job is not None and job.runs and record.driver is not None, job)
    return replace(run, alive=_is_alive(record)) if run.is_here else run


def _read(facts: Mapping[str, Any], directory: Path, run_id: str) -> RunEntry:
    try:
        return RunEntry.model_validate(facts)
    except ValidationError as error:
        raise RunError(
            f"the record of the run in {directory} is damaged: {damage(error)}", run=run_id
        ) from error


def _is_own_job(record: RunEntry) -> bool:
    here = job_here()
    return here is not None and (here.scheduler.name, here.number) == (record.scheduler, record.batch)


def _is_alive(record: RunEntry) -> bool:
    """Ask this host's system whether the driver of a run lives."""
    if record.driver is None:
        return False
    stat = read_stat(record.driver.pid)
    same = stat is not None and stat.start_time == record.driver.start_time
    return same and lock_is_held(record.runtime / "driver.lock")
