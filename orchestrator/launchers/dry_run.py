"""The dry run: prints the exact commands and starts nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import ClassVar

from orchestrator.hosts import Inventory, this_host
from orchestrator.launchers.base import Job, Launch


class DryRunLauncher:
    """Prints what another launcher would start. Its Jobs are completed at once."""

    name: ClassVar[str] = "dry_run"
    dry: ClassVar[bool] = True

    def __init__(self, started: Callable[[int], None] | None = None) -> None:
        """Make a launcher. It has no process to tell of."""

    def inventory(self) -> Inventory:
        """Return what this host has for us."""
        return Inventory((this_host(),))

    def start(self, launch: Launch) -> Job:
        """Print one program."""
        print(shell_text(launch))
        job = Job(launch, lambda number: None)
        job.report_started(None)
        job.report_ended(0)
        return job

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def shell_text(launch: Launch) -> str:
    """Return lines of shell that start a program by hand as a launcher would."""
    variables = "".join(
        f"    {key}={shlex.quote(text)} \\\n" for key, text in sorted(launch.environment.items())
    )
    cores = launch.placement.cores if launch.placement is not None else ()
    binding = f"taskset --cpu-list {','.join(map(str, cores))} " if cores else ""
    return (
        f"# {launch.name}\n"
        f"cd {shlex.quote(str(launch.directory))} && \\\n{variables}"
        f"    {binding}{shlex.join(launch.command)} > {launch.log.name} 2>&1"
    )
