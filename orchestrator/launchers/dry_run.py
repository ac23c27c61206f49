"""The dry run: does all that another launcher does but start programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from orchestrator.hosts import Inventory
from orchestrator.launchers.base import Job, Launch, Launcher
from orchestrator.launchers.ends import Ends
from orchestrator.launchers.local import LocalLauncher
from orchestrator.launchers.options import LaunchOptions
from orchestrator.watcher import Session


class DryRunLauncher:
    """Starts nothing in place of another launcher. Its Jobs are completed at once.

    Attributes:
        shown: the name of the other.
    """

    name: ClassVar[str] = "dry_run"
    dry: ClassVar[bool] = True
    elsewhere: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        started: Callable[[Session], None] | None = None,
        options: LaunchOptions | None = None,
        *,
        of: type[Launcher] = LocalLauncher,
    ) -> None:
        """Make a launcher in place of one of the class `of`. It has no process to tell of."""
        self._launcher = of(started or (lambda pid: None), options)
        self.shown = self._launcher.shown

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return nothing: nothing is started."""
        return ()

    def inventory(self) -> Inventory:
        """Return the hosts of the other."""
        return self._launcher.inventory()

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command of the other."""
        return self._launcher.argv(launch)

    def start(self, launch: Launch, ends: Ends | None = None) -> Job:
        """Refuse what the other would refuse; start nothing."""
        self.argv(launch)
        return ended_job(launch)

    def close(self) -> None:
        """Close the other."""
        self._launcher.close()


def ended_job(launch: Launch) -> Job:
    """Return a Job as if the program had run."""
    job = Job(launch, lambda number: None)
    job.report_started(None)
    job.report_ended(0)
    return job
