"""The Jobs of an Ensemble, seen as one: addressed by their parameters, and joined by others as they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.ensemble import REPLICA, Ensemble
from orchestrator.errors import GridError
from orchestrator.launchers.base import GRACE_S, Job, JobState, stop_together
from orchestrator.sweep import Point, Value

SHOWN = 5
"""How many values or members an error names."""


class JobGroup:
    """The Jobs of an Ensemble.

    Args:
        ensemble: whose members they are.
        jobs: in the order of the members.
        start: starts one more member of a number, at a point that some members are at already.
    """

    def __init__(
        self, ensemble: Ensemble, jobs: Sequence[Job], start: Callable[[int, Point, int], Job]
    ) -> None:
        self.name = ensemble.name
        self._ensemble = ensemble
        self._jobs = list(jobs)
        self._start = start

    def __repr__(self) -> str:
        return f"<JobGroup {self.name} of {len(self._jobs)}, {self.state.value}>"

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The members' Jobs; `Job.parameters` has where each is."""
        return tuple(self._jobs)

    @property
    def state(self) -> JobState:
        """The state of the group: FAILED as soon as one member is, COMPLETED when all are."""
        states = {job.state for job in self._jobs}
        order = (JobState.FAILED, JobState.ACTIVE, JobState.QUEUED, JobState.CANCELED)
        return next((state for state in order if state in states), JobState.COMPLETED)

    @property
    def returncode(self) -> int | None:
        """The first exit code but 0, of who failed before who was stopped; None while one may still come."""
        codes = [job.returncode for job in (*self.failed, *self._jobs)]
        ended = all(job.state.final for job in self._jobs)
        return next((code for code in codes if code), 0 if ended else None)

    @property
    def failed(self) -> tuple[Job, ...]:
        """The members that have failed."""
        return tuple(job for job in self._jobs if job.state is JobState.FAILED)

    @property
    def log(self) -> tuple[Path, ...]:
        """The members' logs."""
        return tuple(job.log for job in self._jobs)

    def where(self, **parameters: Value) -> tuple[Job, ...]:
        """Return the members with these values, all others being any.

        Raises:
            GridError: there is no such parameter.
        """
        known = (*self._ensemble.parameters, REPLICA)
        for parameter in parameters:
            if parameter not in known:
                raise self._error(
                    parameter, f"there is no parameter {parameter!r}; there is: {', '.join(known)}"
                )
        return tuple(
            job
            for job in self._jobs
            if all(job.parameters[name] == value for name, value in parameters.items())
        )

    def member(self, **parameters: Value) -> Job:
        """Return the only member with these values.

        Raises:
            GridError: there is none, or more than one, or no such parameter.
        """
        found = self.where(**parameters)
        if len(found) == 1:
            return found[0]
        asked = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
        if found:
            names = _some([job.name for job in found])
            raise self._error(
                next(iter(parameters), ""), f"{len(found)} members have {asked or 'any'}: {names}"
            )
        for name, value in parameters.items():
            values = list(dict.fromkeys(job.parameters[name] for job in self._jobs))
            if value not in values:
                raise self._error(name, f"no member has {name}={value!r}; there are: {_some(values)}")
        raise self._error(next(iter(parameters)), f"no member has all of {asked}")

    def add(self, **parameters: Value) -> Job:
        """Start one more member, with a value for each parameter, as the others were started.

        Raises:
            GridError: a parameter is missing, not known, or of a value that cannot be.
            UsageError: the Experiment runs no more.
        """
        self._ensemble.further(len(self._jobs), parameters)
        job = self._start(len(self._jobs), parameters, len(self.where(**parameters)))
        self._jobs.append(job)
        return job

    def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait until all members have ended, in their order.

        Raises:
            JobFailed: the first member that failed, where the policy does not let it be.
            WaitTimeout: some still run.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for job in self._jobs:  # also those that are added meanwhile
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not job.tolerated or not job.wait_ended(left):
                job.wait(left)
        return self.state

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End all members, together; those that wait first, so that none is started meanwhile."""
        stop_together(sorted(self._jobs, key=lambda job: job.state is not JobState.QUEUED), grace_s)

    def _error(self, parameter: str, message: str) -> GridError:
        return GridError(self.name, parameter, message)


def _some(things: Sequence[object]) -> str:
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return ", ".join(map(str, things[:SHOWN])) + more
