"""An Experiment: starts programs and a database, watches them, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from orchestrator.application import Application, check_name
from orchestrator.collecting import Collector
from orchestrator.database import AnyDatabase, Database, as_databases, start_database
from orchestrator.deployment import Orchestrator
from orchestrator.ensemble import Ensemble
from orchestrator.errors import UsageError, WaitTimeout
from orchestrator.group import JobGroup
from orchestrator.guard import Guard, ended_by_signals
from orchestrator.joining import ColocatedDatabase, colocated_databases, shown_databases
from orchestrator.launchers.base import GRACE_S, Job, JobState, Launch, Launcher
from orchestrator.launchers.dry_run import ended_job
from orchestrator.launchers.options import AUTO, LaunchOptions
from orchestrator.launchers.table import check_options, find_launcher, is_dry, make_launcher
from orchestrator.planning import out_of_reach, place_shards, shard_of_run
from orchestrator.policy import Policy
from orchestrator.preview import Preview, Program
from orchestrator.progress import following, say
from orchestrator.queueing import Queue
from orchestrator.record import NodeEntry
from orchestrator.recording import RunRecord
from orchestrator.resuming import Resumed, Saves, claim
from orchestrator.run_end import RunEnd, close_record
from orchestrator.run_files import RunFiles, take_lock
from orchestrator.run_time import RunTime
from orchestrator.schedulers.table import job_here
from orchestrator.started import Started
from orchestrator.starting import Awaited, Starter, Turn, flat
from orchestrator.sweep import Point
from orchestrator.watcher import Session

COLOCATED_S = 60.0


class Experiment:
    """A run: `with Experiment("name") as exp:`. Leaving the block stops everything.

    Args:
        name: of the experiment.
        launcher: "local"; "mpi" for programs with ranks; "slurm" for steps of the allocation this runs in;
            "pbs" for programs in its job; or "dry_run" to show hosts, cores and the exact commands and start
            nothing. By default "slurm" or "pbs" in a job of theirs, and "local" elsewhere.
            LaunchOptions say more.
        run_dir: the directory of this run; `runs/<name>/<id>` under the current one by default.
        grace_s: how long programs may take to end when they are told to, before they are killed.
        time_limit_s: how long the run may take; then it is ended in order. For ever by default.
        checkpoint_s: how often the databases are saved meanwhile, for `penstock run --resume`; then also when
            the run ends early. By default only when its time is over.
        stop_before_s: end it in order so long before its time is over, be that the limit or the end of the
            allocation. It takes `grace_s` for the programs, and what it takes to save the databases.
    """

    def __init__(
        self,
        name: str,
        launcher: str | LaunchOptions = AUTO,
        *,
        run_dir: str | Path | None = None,
        grace_s: float = GRACE_S,
        time_limit_s: float | None = None,
        stop_before_s: float | None = None,
        checkpoint_s: float | None = None,
    ) -> None:
        check_name(name)
        if not isinstance(run_dir, str | Path | None):
            raise UsageError(f"Experiment(run_dir={run_dir!r}): a path is needed")
        self.name = name
        self._options = launcher if isinstance(launcher, LaunchOptions) else LaunchOptions(launcher)
        check_options(self._options)
        self._grace_s = grace_s
        given = self._options
        self._time = RunTime(
            time_limit_s if given.time_limit_s is None else given.time_limit_s,
            stop_before_s if given.stop_before_s is None else given.stop_before_s,
        )
        job = job_here()
        number = job.number if job is not None else None
        self._files = RunFiles.plan(
            name, Path(run_dir) if run_dir is not None else None, number, resume=self._options.resume
        )
        self._saves = Saves(self._files, checkpoint_s if given.checkpoint_s is None else given.checkpoint_s)
        self._resumed: Resumed | None = None
        self._stack = ExitStack()
        self._started = Started(dry=self.dry_run)
        self._open = False
        self._told_of_sharing = False
        self._told_failed: set[str] = set()
        self._launcher: Launcher
        self._queue: Queue
        self._starter: Starter | Collector
        self._end: RunEnd
        self._guard: Guard | None = None
        self._record: RunRecord | None = None

    @property
    def dry_run(self) -> bool:
        """Whether commands are only printed, and nothing is started."""
        return is_dry(self._options)

    @property
    def run_dir(self) -> Path:
        """The directory of this run."""
        return self._files.directory

    @property
    def run_id(self) -> str:
        """The id of this run."""
        return self._files.run_id

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The Jobs of all Applications, in the order of their start."""
        return tuple(self._started.jobs)

    def __enter__(self) -> Experiment:
        # before anything is made: it may be refused
        self._launcher = make_launcher(self._options, self._note_process)
        try:
            self._stack.enter_context(ended_by_signals(self._started.wake_all))
            if not self.dry_run:
                self._stack.callback(self._time.stop)
                self._time.begin()
                earlier = self._resume()
                self._files.create()
                self._stack.callback(self._files.abandon)
                self._stack.callback(self._files.remove_runtime)
                self._stack.callback(os.close, take_lock(self._files.lock))
                self._stack.callback(self._saves.stop)
                undo = find_launcher(self._options.launcher).undo(self.run_id, self._files.runtime)
                self._guard = Guard(self._files, undo)
                self._stack.callback(self._guard.leave)
                self._record = RunRecord(self.name, self._files, self._options.source, earlier)
                self._record.write()
                self._time.watch()  # not before: what is begun can be ended in order
            self._queue = Queue(self._launcher, self._started, self._grace_s, self._note_start)
            self._starter = self._new_starter()
            self._end = RunEnd(
                self._started,
                self._queue,
                self._launcher,
                self._saves,
                self._time,
                self._grace_s,
                self._guard,
                self._record,
            )
            self._open = True
            self._say(f"run directory {self.run_dir}")
        except BaseException as error:
            over = self._time.over if isinstance(error, KeyboardInterrupt) else None
            self._launcher.close()
            close_record(self._record, over or error)
            self._stack.close()
            if over is not None:
                raise over from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            raised = self._end.leave(error, partial(self._leave, show=error is None))
        if raised is not None and error is not None:
            raise raised from error
        if raised is not None:
            raise raised

    def _leave(self, interrupted: bool, early: bool, *, show: bool) -> None:
        if self.dry_run and show:
            self._show()
        self._open = False
        self._end.stop_all(interrupted=interrupted, early=early)

    @overload
    def start(self, thing: Orchestrator) -> Database: ...
    @overload
    def start(
        self,
        thing: Application,
        *,
        database: AnyDatabase | Sequence[AnyDatabase] | None = None,
        after: Awaited = (),
        policy: Policy | None = None,
    ) -> Job: ...
    @overload
    def start(
        self,
        thing: Ensemble,
        *,
        database: AnyDatabase | Sequence[AnyDatabase] | None = None,
        after: Awaited = (),
        policy: Policy | None = None,
    ) -> JobGroup: ...

    def start(
        self,
        thing: Application | Ensemble | Orchestrator,
        *,
        database: AnyDatabase | Sequence[AnyDatabase] | None = None,
        after: Awaited = (),
        policy: Policy | None = None,
    ) -> Job | JobGroup | Database:
        """Start something. A database is ready when this returns; a program has just been started.

        Programs wait for their turn where they come after others, and so do the members of an Ensemble with
        Resources that find too few free. Everything else starts at once, and shares cores where it must.

        Args:
            thing: what to start.
            database: the one whose address the programs find in their environment; or several.
            after: what must have completed first; where it does not, these programs are canceled.
            policy: priority, time-out and retries of each program, and what its failure means for the others.

        Raises:
            UsageError: something cannot be right; nothing has been started.
            PlacementError, PortError, ServerError, BuildError: likewise.
            StartFailed, DatabaseFailed: it did not come up.
        """
        self._check_open()
        if isinstance(thing, Orchestrator):
            if after != () or policy is not None or database is not None:
                raise UsageError(
                    "a database is started at once: it comes after nothing, and has no policy and no database"
                )
            return self._start_database(thing)
        applications, databases = _applications(thing), as_databases(database)
        share = not isinstance(thing, Ensemble) or thing.resources is None
        turn = Turn(thing.name, policy or Policy(), self._starter.known(after), share)
        if isinstance(thing, Ensemble):
            return self._start_ensemble(thing, applications, databases, turn)
        if turn.awaited or policy is not None:
            (job,) = self._starter.in_turn(applications, databases, turn)
        else:
            (job,) = self._starter.at_once(applications, databases)
        self._say(f"{job.name} waits for its turn" if job.state is JobState.QUEUED else f"started {job.name}")
        return job

    def wait(
        self, *things: Job | JobGroup, timeout_s: float | None = None, follow: Job | None = None
    ) -> None:
        """Wait until programs have ended; by default all that were started.

        A program of this Experiment that fails meanwhile, waited for or not, or a database that dies, ends
        the waiting: everything is stopped and the failure is raised.

        Args:
            timeout_s: how long to wait; for ever by default.
            follow: show what this program prints meanwhile.

        Raises:
            JobFailed: with command, exit code and the last lines of the log.
            DatabaseFailed: likewise.
            WaitTimeout: they still run, and go on running.
            Exception: that a listener of a Job has raised.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        shown = nullcontext() if follow is None or self.dry_run else following(follow.name, follow.log)
        self._flush_record()
        with shown:
            jobs, news = self._started.wait(self._all_of(things), deadline)
        self._flush_record()
        self._tell_of_failures()
        if news is not None:
            self._started.report(news)
            self._open = False
            self._end.stop_all(early=True)
            raise news
        running = [job.name for job in jobs if not job.state.final]
        if running:
            raise WaitTimeout(f"the end of {', '.join(running)}", timeout_s or 0.0)

    def _all_of(self, things: Sequence[Job | JobGroup]) -> Callable[[], list[Job]]:
        """Return what tells which Jobs there are now, for others may join while they are waited for."""
        return lambda: list(flat(things)) if things else list(self._started.jobs)

    def colocated(self, job: Job, timeout_s: float = COLOCATED_S) -> tuple[ColocatedDatabase, ...]:
        """Return the databases beside a co-located program, once they are ready, to give them to another.

        Args:
            job: what start(colocate(...)) returned.
            timeout_s: how long to wait for them.

        Raises:
            UsageError: it is not co-located, or has ended.
            WaitTimeout: they were not ready in time.
        """
        self._check_open()
        return shown_databases(job) if self.dry_run else colocated_databases(job, timeout_s)

    def preview(
        self,
        *things: Application | Ensemble | Orchestrator,
        database: AnyDatabase | Sequence[AnyDatabase] | None = None,
    ) -> Preview:
        """Show hosts and cores, who holds which, and the exact command lines; start nothing.

        Args:
            things: what is to be started, beside what has been.
            database: the one whose address the programs find in their environment; or several.

        Raises:
            UsageError, PlacementError: as `start` would.
        """
        self._check_open()
        planned: list[Launch] = []
        for thing in things:
            planned.extend(self._planned(thing, as_databases(database), planned))
        launches = [*(job.launch for job in self._started.holding()), *planned]
        launcher = self._launcher
        programs = tuple(Program(launch, launcher.argv(launch)) for launch in launches)
        notes = [out_of_reach(launches, known) for known in self._started.databases]
        told = tuple(str(note) for note in notes if note is not None)
        return Preview(self.name, launcher.shown, self._files, launcher.inventory(), programs, told)

    def _planned(
        self, thing: object, databases: Sequence[AnyDatabase], before: Sequence[Launch]
    ) -> list[Launch]:
        if isinstance(thing, Orchestrator):
            return self._planned_shards(thing, before)
        waiting = isinstance(thing, Ensemble) and thing.resources is not None
        return self._starter.planned(_applications(thing), databases, before, waiting=waiting)

    def _planned_shards(self, orchestrator: Orchestrator, before: Sequence[Launch]) -> list[Launch]:
        placed = [launch.placement for launch in before if launch.placement is not None]
        taken = [*self._started.placements(), *placed]
        places = place_shards(orchestrator, self._launcher.inventory(), taken, dry=True)

        def note(launch: Launch) -> Job:
            return ended_job(shard_of_run(launch, self._files))

        database = start_database(orchestrator, self._files, note, places=places, dry=True)
        return [job.launch for job in database.jobs]

    def _start_ensemble(
        self,
        ensemble: Ensemble,
        members: Sequence[Application],
        databases: Sequence[AnyDatabase],
        turn: Turn,
    ) -> JobGroup:
        def start(applications: Sequence[Application]) -> list[Job]:
            self._check_open()
            return self._starter.in_turn(applications, databases, turn)

        def add(number: int, point: Point, replica: int) -> Job:
            return start([ensemble.further(number, point, replica)])[0]

        jobs = start(members)
        waiting = sum(job.state is JobState.QUEUED for job in jobs)
        told = f", {waiting} of them waiting for their turn" if waiting else ""
        self._say(f"started {ensemble.name}, {len(jobs)} program{'s' if len(jobs) > 1 else ''}{told}")
        return JobGroup(ensemble, jobs, add)

    def _new_starter(self) -> Starter | Collector:
        if self._options.collect is not None:
            return Collector(
                self._files, self._started.jobs, limited=self._time.limited or self._saves.wanted
            )
        return Starter(
            self._files,
            self._launcher,
            self._started,
            self._queue,
            self._observe,
            self._resumed,
            grace_s=self._grace_s,
        )

    def _show(self) -> None:
        """Show, or hand over, what a dry run would have started."""
        if isinstance(self._starter, Collector) and self._options.collect is not None:
            self._options.collect(self._files, self._starter.collected)
        else:
            self._options.show(self.preview())

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                f"the experiment {self.name!r} is not running: use it in a `with` block, and in it start"
            )

    def _check_identifier(self, identifier: str) -> None:
        if any(database.identifier == identifier for database in self._started.databases):
            called = f" that is called {identifier!r}" if identifier else ""
            raise UsageError(
                f"the experiment {self.name!r} has a database already{called}; "
                'give this one an identifier of its own, as in Orchestrator(identifier="fields")'
            )

    def _start_database(self, orchestrator: Orchestrator) -> Database:
        self._check_identifier(orchestrator.identifier)
        began = time.monotonic()
        database = self._starter.database(orchestrator)
        name = f"database {database.identifier}".rstrip()
        self._say(f"{name} ready after {time.monotonic() - began:.2f} s at {database.address}")
        self._observe(database.jobs)
        if not orchestrator.config.append_only:
            self._saves.add(database)
        database.when_changed(self._note_change)
        if self._record is not None:
            self._record.flush(**self._databases())
        return database

    def _databases(self) -> dict[str, Any]:
        """Return what the record says of databases."""
        databases = self._started.databases
        return {
            "address": databases[0].address.environment(),
            "databases": [_entry(each) for each in databases],
        }

    def _note_change(self, sentence: str) -> None:
        """On a database's thread: one of its servers has died, and it goes on."""
        self._say(sentence)
        if self._record is not None:
            self._record.note(**self._databases())

    def _observe(self, jobs: Sequence[Job]) -> None:
        """From now on record what becomes of these Jobs, and wake those who wait."""
        self._tell_of_sharing(jobs)
        if self._record is not None:
            self._record.add(jobs)
        for job in jobs:
            job.when_ended(self._note_end)

    def _note_start(self, job: Job) -> None:
        """On the queue's thread: one of its programs was started, or waits to be tried again."""
        self._tell_of_sharing([job])
        if self._record is not None:
            self._record.touch()

    def _tell_of_sharing(self, jobs: Sequence[Job]) -> None:
        """Say once a run that there are more programs than cores; the record says who runs where."""
        sharing = [job for job in jobs if job.placement is not None and not job.placement.bound]
        if sharing and not self._told_of_sharing:
            self._told_of_sharing = True
            cores = self._launcher.inventory().core_count
            first = sharing[0].name
            self._say(
                f"more cores are asked for than there are: from {first} on programs share the {cores} cores"
            )

    def _tell_of_failures(self) -> None:
        """Say once of each program whose failure is let be."""
        failed = [job for job in self._started.jobs if job.tolerated and job.state is JobState.FAILED]
        names = [job.name for job in failed if job.name not in self._told_failed]
        self._told_failed.update(names)
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            self._say(f"these have failed, and are let be: {', '.join(names[:5])}{more}")

    def _say(self, sentence: str) -> None:
        """Tell the user what has happened; a dry run shows its preview instead."""
        if not self.dry_run:
            say(sentence)

    def _note_end(self, job: Job) -> None:
        """On the launcher's or the queue's thread, which must go on."""
        self._started.note_end(job)
        self._queue.wake()
        if self._record is not None:
            self._record.touch()

    def _note_process(self, session: Session) -> None:
        if self._guard is not None:
            self._guard.add(session)

    def _resume(self) -> dict[str, Any] | None:
        """Return the record of the run that is to go on; None where a new one begins.

        Raises:
            ResumeError: it cannot go on, or another driver has just resumed it.
        """
        if not self._options.resume:
            return None
        self._stack.callback(os.close, claim(self._files))
        self._resumed = Resumed(self._files)
        return self._resumed.record

    def _flush_record(self) -> None:
        if self._record is not None:
            self._record.flush()


def _entry(database: Database) -> dict[str, object]:
    return {
        "identifier": database.identifier,
        "environment": database.address.environment(database.identifier),
        "nodes": [NodeEntry.of(node).model_dump(mode="json") for node in database.nodes],
    }


def _applications(thing: object) -> Sequence[Application]:
    if isinstance(thing, Ensemble):
        return thing.members()
    if isinstance(thing, Application):
        return [thing]
    raise UsageError(f"{thing!r} is neither an Application nor an Ensemble nor an Orchestrator")
