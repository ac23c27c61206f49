"""The local launcher: one process of this host for each program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from orchestrator.errors import PlacementError
from orchestrator.hosts import Inventory, this_host
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.ends import Ends
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.processes import Processes, by_hand, cores_of
from orchestrator.watcher import Session


class LocalLauncher:
    """Starts programs as processes of this host."""

    name: ClassVar[str] = "local"
    dry: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, started: Callable[[Session], None] | None = None, options: LaunchOptions | None = None
    ) -> None:
        """Make a launcher. Other hosts in its options are for a preview: as if this host were one of them."""
        self.shown = self.name
        self._processes = Processes(started)
        self._hosts = options.hosts if options is not None else None

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return nothing: this host is all there is."""
        return ()

    def inventory(self) -> Inventory:
        """Return what this host has for us."""
        return self._hosts or Inventory((this_host(),))

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command of one program, bound to its cores by taskset."""
        _check_one_process(launch)
        return by_hand(launch)

    def start(self, launch: Launch, ends: Ends | None = None) -> Job:
        """Start one program and return at once."""
        _check_one_process(launch)
        return self._processes.start(launch, cores=cores_of(launch), ends=ends)

    def close(self) -> None:
        """End the thread. All Jobs have ended."""
        self._processes.close()


def _check_one_process(launch: Launch) -> None:
    if launch.ranks is not None and launch.ranks > 1:
        raise PlacementError(
            f"{launch.name!r} asks for {launch.ranks} ranks, and the launcher 'local' starts one process "
            'of each program; launcher="mpi" starts ranks',
            asked=launch.ranks,
            available=1,
            what="ranks",
        )
