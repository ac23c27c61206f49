"""What an Experiment does in place of starting programs where they are to be members of a job array.

It checks them as always, and keeps them. What an array cannot do is refused: its elements run at different
times, on different nodes, and without a driver, so no member can come after another, or share its database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NoReturn

from orchestrator.application import Application
from orchestrator.database import AnyDatabase, Database
from orchestrator.deployment import Orchestrator
from orchestrator.errors import UsageError
from orchestrator.group import JobGroup
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.dry_run import ended_job
from orchestrator.planning import describe_programs
from orchestrator.policy import Policy
from orchestrator.resources import Resources
from orchestrator.run_files import RunFiles
from orchestrator.starting import Awaited, Turn

KEPT = ("timeout_s", "retries", "pause_s", "on_failure")
"""What of a Policy an element does; `on_failure` never stops other elements."""
REFUSED = ("near", "away_from")
INSTEAD = "without --array the driver runs in the allocation and can do it"


@dataclass(frozen=True)
class Collected:
    """A program that is to be a member: its launch, what it asks for, and how it is treated."""

    launch: Launch
    resources: Resources
    policy: Policy


class Collector:
    """Keeps the programs of one Experiment in place of starting them.

    Args:
        files: of the run.
        jobs: gets a Job of each, which has ended, as in a dry run.
        limited: the Experiment wants a driver to end it in time, or to save its databases.

    Raises:
        UsageError: there will be no driver.
    """

    def __init__(self, files: RunFiles, jobs: list[Job], *, limited: bool = False) -> None:
        if limited:
            _refuse("an Experiment with time_limit_s, stop_before_s or checkpoint_s")
        self._files = files
        self._jobs = jobs
        self.collected: list[Collected] = []

    def at_once(self, applications: Sequence[Application], databases: Sequence[AnyDatabase]) -> list[Job]:
        """Keep programs."""
        return self._keep(applications, databases, Policy())

    def in_turn(
        self, applications: Sequence[Application], databases: Sequence[AnyDatabase], turn: Turn
    ) -> list[Job]:
        """Keep programs, unless their policy or what they come after is nothing for an array."""
        if turn.awaited:
            _refuse(f"after=: {turn.group} would come after {turn.awaited[0].name}")
        for field in fields(Policy):
            if field.name not in KEPT and getattr(turn.policy, field.name) != field.default:
                _refuse(f"Policy({field.name}={getattr(turn.policy, field.name)!r}) of {turn.group}")
        return self._keep(applications, databases, turn.policy)

    def planned(
        self,
        applications: Sequence[Application],
        databases: Sequence[AnyDatabase],
        before: Sequence[Launch],
        *,
        waiting: bool = False,
    ) -> list[Launch]:
        """Refuse: nobody knows the hosts of an array before it runs."""
        _refuse("a preview of places")

    def database(self, orchestrator: Orchestrator) -> Database:
        """Refuse."""
        _refuse(f"a database for all, {orchestrator.name!r}; colocate() starts one beside each member")

    def known(self, after: Awaited) -> tuple[Job | JobGroup, ...]:
        """Return what programs come after."""
        return (after,) if isinstance(after, Job | JobGroup) else tuple(after)

    def _keep(
        self, applications: Sequence[Application], databases: Sequence[AnyDatabase], policy: Policy
    ) -> list[Job]:
        if databases:
            _refuse(f"database=: {applications[0].name} would reach one of another run")
        taken = {each.launch.name for each in self.collected}
        launches = describe_programs(applications, self._files, taken, ())
        for application, launch in zip(applications, launches, strict=True):
            self._check_alike(application)
            self.collected.append(Collected(launch, application.resources, policy))
        jobs = [ended_job(launch) for launch in launches]
        self._jobs.extend(jobs)
        return jobs

    def _check_alike(self, application: Application) -> None:
        """Refuse a program that asks for other things than the first, for elements are alike."""
        resources = application.resources
        for name in REFUSED:
            if getattr(resources, name) is not None:
                _refuse(f"Resources({name}={getattr(resources, name)!r}) of {application.name}")
        if resources.beside not in (None, Resources()):  # an element gives its database no place
            _refuse(
                f"colocate(resources=...) of {application.name}: its database shares what the member asks for"
            )
        if self.collected and resources != self.collected[0].resources:
            first = self.collected[0]
            _refuse(f"programs that ask for different things, {first.launch.name} and {application.name}")


def _refuse(what: str) -> NoReturn:
    raise UsageError(f"a job array cannot have {what}; {INSTEAD}")
