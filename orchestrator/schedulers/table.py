"""The schedulers, by name. A new one is a file beside these and a line here."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.errors import UsageError
from orchestrator.schedulers.base import Scheduler
from orchestrator.schedulers.pbs import PbsScheduler
from orchestrator.schedulers.slurm import SlurmScheduler

SCHEDULERS: dict[str, Scheduler] = {
    scheduler.name: scheduler for scheduler in (SlurmScheduler(), PbsScheduler())
}


class BatchJob(NamedTuple):
    """A job of a scheduler, by its number."""

    scheduler: Scheduler
    number: str


def find_scheduler(name: str) -> Scheduler:
    """Return the scheduler of a name.

    Raises:
        UsageError: there is none; names those that are.
    """
    if name not in SCHEDULERS:
        raise UsageError(f"there is no scheduler {name!r}; there are: {', '.join(SCHEDULERS)}")
    return SCHEDULERS[name]


def job_here() -> BatchJob | None:
    """Return the job in which this process runs; None outside of any."""
    here = ((scheduler, scheduler.job_here()) for scheduler in SCHEDULERS.values())
    return next((BatchJob(scheduler, number) for scheduler, number in here if number is not None), None)
