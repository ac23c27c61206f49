"""A scheduler: what is asked of it for a run, and how the batch job is followed that the driver is.

The script of a batch job becomes the driver (`exec`), so that a signal to the one is a signal to the other
and the job ends with it. Penstock places programs itself, so it takes whole nodes. A job that was started
again would find its run directory taken, so it never is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from orchestrator.errors import UsageError

TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::[0-5]\d){0,2})")
SECONDS = {0: (60,), 1: (60, 1), 2: (3600, 60, 1)}
SECONDS_OF_DAYS = {0: (3600,), 1: (3600, 60), 2: (3600, 60, 1)}
A_DAY_S = 86400


@dataclass(frozen=True)
class Batch:
    """What is asked of a scheduler.

    Attributes:
        nodes: how many whole ones.
        time: for how long: minutes, M:SS, H:MM:SS, D-H, D-H:MM or D-H:MM:SS.
        per_node: what each node has, in the words of a scheduler that must be told so.
        extra_args: further arguments of the command that submits.
    """

    nodes: int
    time: str
    per_node: str | None = None
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise UsageError(f"--nodes {self.nodes}: must be at least 1")
        if not TIME.fullmatch(self.time) or not re.search(r"[1-9]", self.time):
            raise UsageError(
                f"--time {self.time!r} is no time: write minutes, H:MM:SS or D-H:MM:SS, as in 90 or 1:30:00"
            )

    @property
    def seconds(self) -> int:
        """For how long."""
        written = TIME.fullmatch(self.time)
        assert written is not None  # it was checked
        parts = written["parts"].split(":")
        units = (SECONDS if written["days"] is None else SECONDS_OF_DAYS)[len(parts) - 1]
        within = sum(int(part) * unit for part, unit in zip(parts, units, strict=True))
        return int(written["days"] or 0) * A_DAY_S + within


class JobStatus(NamedTuple):
    """Where a batch job stands that has not ended.

    Attributes:
        state: as its scheduler calls it: PENDING, RUNNING, …
        reason: why it waits, in the scheduler's words; empty where it gives none.
        runs: whether its programs run.
    """

    state: str
    reason: str = ""
    runs: bool = False


class Scheduler(Protocol):
    """Submits batch jobs and tells of them.

    Attributes:
        name: by which `--on` asks for it; the launcher inside its jobs is called so too.
        title: what it is called in sentences.
        submits_by: the command that submits, and the option of `penstock run` that adds arguments to it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    submits_by: ClassVar[str]

    def version(self) -> str:
        """Return what the scheduler on PATH calls itself.

        Raises:
            SchedulerError: there is none.
        """
        ...

    def job_here(self) -> str | None:
        """Return the number of the job in which this process runs; None outside of any."""
        ...

    def end_of(self, job: str) -> float | None:
        """Return when a job will be ended, seconds since 1970; None where it has no limit.

        Raises:
            SchedulerError: nobody tells.
        """
        ...

    def script(
        self, name: str, batch: Batch, driver: Sequence[str], *, log: Path, working_directory: Path
    ) -> str:
        """Return the script that runs a driver inside the allocation. Pure.

        Args:
            name: of the job.
            batch: what is asked for.
            driver: its command.
            log: what the driver prints goes there.
            working_directory: of the driver.

        Raises:
            UsageError: something of the batch cannot be right for this scheduler.
        """
        ...

    def check(self, script: str) -> None:
        """Make sure, as far as can be known before, that a script would be started some day.

        Raises:
            SchedulerError: it would not; or there is no such scheduler here.
        """
        ...

    def submit(self, script: str) -> str:
        """Submit a script and return the number of the job, which is held: `release` lets it begin."""
        ...

    def release(self, job: str) -> None:
        """Let a job begin that is held."""
        ...

    def cancel(self, job: str) -> None:
        """End a job, also one that has not begun."""
        ...

    def end_driver(self, job: str) -> None:
        """Send a SIGTERM to the driver that is a job's script, and to it alone: it ends its programs."""
        ...

    def jobs(self) -> Mapping[str, JobStatus]:
        """Return where the jobs of this user stand that have not ended, by their numbers."""
        ...


def check_path(scheduler: Scheduler, path: Path, forbidden: str) -> None:
    """Refuse a path that cannot be written into a script for a scheduler: it would lead somewhere else.

    Args:
        scheduler: reads the script.
        path: where the output of a job is to be.
        forbidden: characters that it would misread. What cannot be printed, as a line break, is so always.

    Raises:
        UsageError: naming the first of them.
    """
    wrong = next((c for c in str(path) if c in forbidden or not c.isprintable()), None)
    if wrong is not None:
        raise UsageError(
            f"the path {str(path)!r} has {wrong!r} in it, which {scheduler.title} cannot be given; "
            "--run-dir chooses another"
        )


def check_further(scheduler: Scheduler, batch: Batch, ours: re.Pattern[str]) -> None:
    """Refuse further arguments of the command that submits where they cannot be right.

    Args:
        scheduler: whose command it is.
        batch: has them.
        ours: matches the beginning of those that Penstock gives itself.

    Raises:
        UsageError: naming one.
    """
    option = f"--{scheduler.submits_by}"
    for word in batch.extra_args:
        if not word.startswith("-"):
            raise UsageError(f"{option} {word!r}: write it as one word, as in {option}=--some-option=value")
        if {'"', "\n"} & set(word):
            raise UsageError(f"{option} {word!r}: a line of the script can hold no quotation mark in it")
        if ours.match(word):
            raise UsageError(f"{option} {word}: is given by Penstock itself")
