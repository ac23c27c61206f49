"""Going on with a run that ended before it was through: what need not run again, and what has changed.

A program that has completed is not run again where what it did is still there: it used no database, or the
database comes back with all that was written until the program ended. That is so where the database was saved
later, or logs its writes (`append_only`). Everything else starts again, in its old directory.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from orchestrator.database import AnyDatabase, Database
from orchestrator.deployment import Orchestrator
from orchestrator.entries import JobEntry
from orchestrator.errors import ResumeError, SavedError, UsageError
from orchestrator.launchers.base import Job, JobState, Launch
from orchestrator.policy import is_time
from orchestrator.progress import say
from orchestrator.record import RESUMABLE, Run, run_at
from orchestrator.redis_config import DUMP
from orchestrator.run_files import QUEUED, RunFiles, as_it_was, read_record, take_lock
from orchestrator.saved import read_saved

FINISHED = "had completed when the run was resumed"
NEVER = -math.inf


class Resumed:
    """What is known of a run from before it was resumed.

    Args:
        files: of the run that goes on.

    Raises:
        ResumeError: it cannot be resumed; says why.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._run = run_to_resume(files.directory, files.batch)
        self.record: dict[str, Any] = as_it_was(read_record(files.directory))
        self._entries = {job.name: job for job in self._run.record.jobs}
        self._back: dict[str, float] = {}

    def database(self, orchestrator: Orchestrator) -> Orchestrator:
        """Return a database that is to come back as it was last saved, or from its log of writes.

        Raises:
            SavedError: what was saved of it cannot be read.
        """
        name = orchestrator.name
        for dump in self._files.directory.glob(f"{name}/shard_*/{DUMP}"):
            dump.unlink()  # a server would read it; of what was saved this is only a second name
        saves = saves_in(self._files.saves(name))
        if orchestrator.config.append_only:
            self._back[orchestrator.identifier] = math.inf
            return orchestrator
        if not saves:
            self._back[orchestrator.identifier] = NEVER
            say(f"{name} was never saved: it begins empty, and programs that use it run again")
            return orchestrator
        self._back[orchestrator.identifier] = read_saved(saves[-1]).saved
        return replace(orchestrator, restore_from=saves[-1])

    def finished(self, launch: Launch, databases: Sequence[AnyDatabase]) -> Job | None:
        """Return the Job of a program that need not run again; None where it must.

        Raises:
            ResumeError: it is not the program that it was.
        """
        entry = self._entries.get(launch.name)
        if entry is None:
            return None
        if list(launch.command) != entry.command:
            raise self._changed(launch, entry.command)
        self._compare(launch, entry)
        until = min((self._back_until(database) for database in databases), default=math.inf)
        if entry.state != JobState.COMPLETED.value or entry.ended is None or entry.ended > until:
            return None
        job = Job(launch, lambda number: None)
        job.report_started(None)
        job.report_ended(entry.returncode, JobState.COMPLETED, FINISHED)
        job.started, job.ended, job.attempts = entry.started, entry.ended, entry.attempts
        return job

    def _back_until(self, database: AnyDatabase) -> float:
        """Return until when what was written has come back; nothing has to one beside a program."""
        return self._back.get(database.identifier, NEVER) if isinstance(database, Database) else NEVER

    def _compare(self, launch: Launch, entry: JobEntry) -> None:
        """Refuse a program with other parameters or input files: what it did before would not be its own."""
        parameters = json.loads(json.dumps(dict(launch.parameters), default=str))
        for name in {**entry.parameters, **parameters}:
            now, was = parameters.get(name), entry.parameters.get(name)
            if now != was:
                raise self._refused(launch, f"its parameter {name!r} is {now!r}, and was {was!r}")
        files = {each.target: each.as_json() for each in launch.inputs}
        before = {each["target"]: each for each in entry.files}
        for target in {**before, **files}:
            if files.get(target) != before.get(target):
                source = (files.get(target) or before[target])["source"]
                raise self._refused(launch, f"its input file {target!r}, from {source}, is not what it was")

    def _changed(self, launch: Launch, before: Sequence[str]) -> ResumeError:
        pairs = list(zip_longest(before, launch.command))
        was, now = next(pair for pair in pairs if pair[0] != pair[1])
        return self._refused(launch, f"its command has {now!r} where it had {was!r}")

    def _refused(self, launch: Launch, why: str) -> ResumeError:
        return ResumeError(
            f"the run {self._run.run_id} cannot go on with {launch.name!r}: {why}. "
            "Put back what was changed, or start a new run",
            run=self._run.run_id,
        )


class Saves:
    """Saves the databases of a run for a resume: every so often, and when it ends before it is through.

    Args:
        files: of the run.
        every_s: how often; None: not while it runs.
    """

    def __init__(self, files: RunFiles, every_s: float | None) -> None:
        if every_s is not None and not (is_time(every_s) and every_s > 0):
            raise UsageError(f"Experiment(checkpoint_s={every_s!r}): must be a number of seconds above 0")
        self._files = files
        self._every_s = every_s
        self._databases: list[Database] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether it was asked to save while the run goes on."""
        return self._every_s is not None

    def add(self, database: Database) -> None:
        """Save a database too from now on, on a thread of its own."""
        self._databases.append(database)
        if self._every_s is not None and self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="penstock-saves", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Save no more; returns when what is being saved is."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def save(self) -> None:
        """Save all databases that run. What cannot be saved is said: what was saved before stays."""
        for database in list(self._databases):
            if database.state is JobState.ACTIVE and not all(job.state.final for job in database.jobs):
                self._save(database)

    def _save(self, database: Database) -> None:
        name = database.nodes[0].directory.parent.name
        directory = self._files.saves(name)
        before = saves_in(directory)
        number = int(before[-1].name) + 1 if before else 1
        try:
            database.snapshot(directory / str(number))
        except SavedError as error:
            say(f"{name} could not be saved for a resume: {error}")
            return
        for old in [*before, *directory.glob(".*")]:
            shutil.rmtree(old, ignore_errors=True)

    def _keep(self) -> None:
        while not self._over.wait(self._every_s):
            self.save()


def claim(files: RunFiles) -> int:
    """Take a run for oneself, to go on with it, and return the descriptor that holds it.

    Raises:
        ResumeError: somebody else has.
    """
    try:
        return take_lock(files.resume_lock)
    except BlockingIOError as error:
        raise ResumeError(f"another process goes on with the run in {files.directory}") from error


def run_to_resume(directory: Path, job: str | None = None) -> Run:
    """Return the run of a directory, which can be resumed.

    Args:
        directory: of the run.
        job: the batch job that this is. If the run was queued to be resumed by it, it is what it was before.

    Raises:
        ResumeError: it cannot; says why.
        RunError: there is no run.
    """
    run = run_at(directory)
    if run.state == QUEUED and run.record.before is not None and run.record.batch == job:
        return run.as_it_was()
    if run.state not in RESUMABLE:
        why = "nothing is left to do" if run.state == "completed" else f"it is {run.state}"
        raise ResumeError(f"the run {run.run_id} cannot be resumed: {why}", run=run.run_id)
    if run.state == "lost":
        raise ResumeError(
            f"the run {run.run_id} was lost with its driver: `penstock stop {run.run_id}` ends what is left "
            "of it, and then it can be resumed",
            run=run.run_id,
        )
    return run


def saves_in(directory: Path) -> list[Path]:
    """Return what was saved of a database, the newest last."""
    found = [each for each in directory.iterdir() if each.name.isdigit()] if directory.is_dir() else []
    return sorted(found, key=lambda each: int(each.name))
