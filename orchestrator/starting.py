"""How programs are started: all are checked before any is, then either at once or each in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.application import Application
from orchestrator.database import AnyDatabase, Database, start_database
from orchestrator.deployment import Orchestrator
from orchestrator.errors import ApplicationError, PenstockError, UsageError
from orchestrator.group import JobGroup
from orchestrator.launchers.base import GRACE_S, Job, Launch, Launcher, stop_together
from orchestrator.planning import (
    describe_programs,
    out_of_reach,
    place_in_the_end,
    place_programs,
    place_shards,
    shard_of_run,
)
from orchestrator.policy import Policy
from orchestrator.queueing import Queue
from orchestrator.resuming import Resumed
from orchestrator.run_files import RunFiles
from orchestrator.schedule import Task
from orchestrator.started import Started

Awaited = Job | JobGroup | Sequence[Job | JobGroup]


@dataclass(frozen=True)
class Turn:
    """How programs wait for theirs.

    Attributes:
        group: the name of their Ensemble, or of the only one.
        policy: how each is treated.
        awaited: what must have completed first.
        share: they may share cores rather than wait for some of their own.
    """

    group: str
    policy: Policy
    awaited: tuple[Job | JobGroup, ...] = ()
    share: bool = True

    def task(self, application: Application) -> Task:
        """Return one of the programs for the schedule."""
        after = tuple(thing.name for thing in self.awaited)
        return Task(application.name, self.group, application.resources, self.policy, after, self.share)


class Starter:
    """Starts the programs of one Experiment.

    Args:
        files: of the run.
        launcher: of the run.
        started: what the Experiment has started.
        queue: where programs wait for their turn.
        observe: is told of Jobs when they are there.
        resumed: what is known of the run from before it was resumed.
        grace_s: how long programs may take to end where another of theirs could not be started.
    """

    def __init__(
        self,
        files: RunFiles,
        launcher: Launcher,
        started: Started,
        queue: Queue,
        observe: Callable[[Sequence[Job]], None],
        resumed: Resumed | None = None,
        *,
        grace_s: float = GRACE_S,
    ) -> None:
        self._files = files
        self._launcher = launcher
        self._started = started
        self._queue = queue
        self._observe = observe
        self._resumed = resumed
        self._grace_s = grace_s
        self._groups: set[str] = set()

    def at_once(
        self, applications: Sequence[Application], databases: Sequence[AnyDatabase], *, waiting: bool = False
    ) -> list[Job]:
        """Check and place all, then start all: either every one runs or none does.

        Args:
            applications: the programs.
            databases: those they find.
            waiting: in a dry run, those that find no room are only noted.
        """
        started: list[Job] = []
        try:
            with self._started.placing:
                launches = self.planned(applications, databases, (), waiting=waiting)
                self._check_reach(launches, databases)
                for launch in launches:
                    started.append(self._start(launch, self._finished(launch, databases)))
        except PenstockError:
            stop_together(started, self._grace_s)
            raise
        return started

    def in_turn(
        self, applications: Sequence[Application], databases: Sequence[AnyDatabase], turn: Turn
    ) -> list[Job]:
        """Check all, then let them join the queue; return when those whose turn it is have been started."""
        watched = watched_databases(turn.policy, databases)
        if self._launcher.dry:
            return self.at_once(applications, databases, waiting=not turn.share)
        launches = self._described(applications, databases, ())
        self._check_group(turn.group)
        self._check_room(applications[0], launches[0], databases, turn)
        tasks = [turn.task(application) for application in applications]
        if turn.group != applications[0].name:
            self._groups.add(turn.group)
        finished = [self._finished(launch, databases) for launch in launches]
        every = list(zip(launches, tasks, finished, strict=True))
        jobs = [done or self._queue.job(launch, task, watched) for launch, task, done in every]
        self._started.jobs.extend(jobs)
        self._observe(jobs)
        waiting = [task for _, task, done in every if done is None]
        if waiting:
            self._queue.join(waiting, list(flat(turn.awaited)))
        unstarted = next((job for job in jobs if job.error is not None and not job.tolerated), None)
        if unstarted is not None:
            stop_together(jobs, self._grace_s)
            unstarted.wait()  # raises why
        return jobs

    def database(self, orchestrator: Orchestrator) -> Database:
        """Start a database and wait until it is ready. Its places are its own from the beginning."""
        dry, inventory = self._launcher.dry, self._launcher.inventory()
        with self._started.placing:
            places = place_shards(orchestrator, inventory, self._started.placements(), dry=dry)
            self._started.promised.extend(places.values())

        def start(launch: Launch) -> Job:
            return self._launcher.start(shard_of_run(launch, self._files))

        try:
            if self._resumed is not None:
                orchestrator = self._resumed.database(orchestrator)
            database = start_database(orchestrator, self._files, start, places=places, dry=dry)
            self._started.databases.append(database)
        finally:
            self._started.promised.clear()
        return database

    def planned(
        self,
        applications: Sequence[Application],
        databases: Sequence[AnyDatabase],
        before: Sequence[Launch],
        *,
        waiting: bool = False,
    ) -> list[Launch]:
        """Check and place programs beside those that were started, and those that are to be before.

        Args:
            applications: the programs.
            databases: those they find.
            before: what is to be started before them.
            waiting: those that find no cores of their own wait for their turn.
        """
        launches = self._described(applications, databases, before)
        placed = [launch.placement for launch in before if launch.placement is not None]
        taken = [*self._started.placements(), *placed]
        return place_programs(applications, launches, self._launcher.inventory(), taken, waiting=waiting)

    def known(self, after: Awaited) -> tuple[Job | JobGroup, ...]:
        """Return what programs come after, which must be of this Experiment.

        Raises:
            UsageError: naming what is not.
        """
        things = (after,) if isinstance(after, Job | JobGroup) else tuple(after)
        for job in flat(things):
            if job not in self._started.jobs:
                raise UsageError(f"after={job.name!r}: this experiment has not started it")
        return things

    def _described(
        self, applications: Sequence[Application], databases: Sequence[AnyDatabase], before: Sequence[Launch]
    ) -> list[Launch]:
        names = {job.name for job in self._started.jobs} | {launch.name for launch in before} | self._groups
        return describe_programs(applications, self._files, names, databases)

    def _check_group(self, group: str) -> None:
        """Refuse an Ensemble that is called like a program, as is the contrary: a name means one of them."""
        if any(job.name == group for job in self._started.jobs):
            raise ApplicationError(group, "there is one of this name in the experiment already")

    def _check_room(
        self, application: Application, launch: Launch, databases: Sequence[AnyDatabase], turn: Turn
    ) -> None:
        """Refuse what will never have a place, and what the launcher would refuse to start there."""
        lasting, beside = self._started.database_placements(), self._started.placements()
        inventory = self._launcher.inventory()
        placed = place_in_the_end(application, launch, inventory, lasting, beside, share=turn.share)
        self._launcher.argv(placed)
        self._check_reach([placed], databases)

    def _check_reach(self, launches: Sequence[Launch], databases: Sequence[AnyDatabase]) -> None:
        errors = (out_of_reach(launches, database) for database in databases)
        error = next((error for error in errors if error is not None), None)
        if error is not None and not self._launcher.dry:
            raise error

    def _finished(self, launch: Launch, databases: Sequence[AnyDatabase]) -> Job | None:
        return self._resumed.finished(launch, databases) if self._resumed is not None else None

    def _start(self, launch: Launch, finished: Job | None) -> Job:
        job = finished or self._launcher.start(launch)
        self._started.jobs.append(job)
        self._started.direct.append(job)
        self._observe([job])
        return job


def watched_databases(policy: Policy, databases: Sequence[AnyDatabase]) -> list[Database]:
    """Return the databases in which the driver sees the snapshots of programs.

    Raises:
        UsageError: there is none, and the policy needs one.
    """
    watched = [database for database in databases if isinstance(database, Database)]
    if policy.heartbeat_s is not None and not watched:
        raise UsageError(
            f"Policy(heartbeat_s={policy.heartbeat_s:g}) looks for snapshots in the database of "
            "database=, and there is none; one beside a program is out of the driver's sight: use timeout_s"
        )
    return watched


def flat(things: Sequence[Job | JobGroup]) -> Iterator[Job]:
    """Yield the Jobs of Jobs and groups.

    Raises:
        UsageError: something else is among them.
    """
    for thing in things:
        if isinstance(thing, JobGroup):
            yield from thing.jobs
        elif isinstance(thing, Job):
            yield thing
        else:
            raise UsageError(
                f"{thing!r} is no Job: wait for what start() returned; a database needs no waiting for"
            )
