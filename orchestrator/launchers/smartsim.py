"""The smartsim launcher: hands programs to SmartSim's launchers, for schedulers that Penstock does not drive.

These are LSF, SGE and Cray PALS, and SmartSim's local one. A process of SmartSim's Python runs them
(`smartsim_steps.py`), so neither needs the other's packages. What SmartSim has not, this has not: it asks
again and again how a step is, it can only kill one, so there is no time of grace, and of a program that fails
in its first moments it does not tell the exit code. Where the ranks of a program run, its scheduler decides;
one without ranks runs here, on the cores of its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NoReturn

from orchestrator.errors import PlacementError, StartFailed, UsageError
from orchestrator.hosts import Inventory, is_here, this_host
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.ends import Ends
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.processes import by_hand
from orchestrator.launchers.smartsim_process import SCHEDULERS, Facts, SmartSimProcess
from orchestrator.laying import lay
from orchestrator.progress import say
from orchestrator.smartsim import find_smartsim
from orchestrator.watcher import Session

PYTHON_VARIABLE = "PENSTOCK_SMARTSIM"
TO_LOG = 'log=$1; shift; exec "$@" >> "$log" 2>&1'


class SmartSimLauncher:
    """Starts programs as steps of SmartSim."""

    name: ClassVar[str] = "smartsim"
    dry: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = ("scheduler",)

    def __init__(
        self, started: Callable[[Session], None] | None = None, options: LaunchOptions | None = None
    ) -> None:
        """Find SmartSim, and start the process that runs its launcher.

        Raises:
            SmartSimError: there is none, or it finds a scheduler here that it is not for.
            UsageError: there is no such scheduler.
        """
        self._options = options or LaunchOptions(self.name)
        chosen = self._options.scheduler
        if chosen is not None and chosen not in SCHEDULERS:
            raise UsageError(
                f"scheduler={chosen!r}: the launcher 'smartsim' is for {', '.join(SCHEDULERS)}; "
                "Penstock drives Slurm and PBS itself"
            )
        smartsim = find_smartsim(os.environ.get(PYTHON_VARIABLE))
        self._process = SmartSimProcess(smartsim.python, chosen or "auto", started or (lambda pid: None))
        self.shown = f"{self.name} ({self._process.scheduler}, SmartSim {smartsim.version})"
        self._told = False

    @property
    def pid(self) -> int:
        """The number of SmartSim's process."""
        return self._process.pid

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return nothing: SmartSim's process stops its steps when the driver has gone."""
        return ()

    def inventory(self) -> Inventory:
        """Return the hosts that were given, or this one."""
        return self._options.hosts or Inventory((this_host(),))

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return SmartSim's command, or that of the program that needs none.

        Raises:
            PlacementError: SmartSim cannot start it there.
            StartFailed: SmartSim has no command for it.
        """
        _check_place(launch, self._process.scheduler)
        if launch.ranks is None:
            return by_hand(launch)
        return tuple(self._process.ask(launch, {"do": "show", **_described(launch)})["command"])

    def start(self, launch: Launch, ends: Ends | None = None) -> Job:
        """Start one program and return when SmartSim has."""
        _check_place(launch, self._process.scheduler)
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            lay(launch.inputs, launch.directory)
            launch.log.touch()
        except OSError as error:
            raise StartFailed(
                f"{launch.name!r} could not be started: {error}", name=launch.name, command=launch.command
            ) from error
        return self._process.start(launch, _described(launch), self._tell_of_kill)

    def close(self) -> None:
        """End SmartSim's process. All Jobs have ended."""
        self._process.close()

    def _tell_of_kill(self, launch: Launch) -> None:
        """Say once that there is no time of grace."""
        if not self._told:
            self._told = True
            say(f"{launch.name} is killed at once: SmartSim cannot tell a program to end")


def _check_place(launch: Launch, scheduler: str) -> None:
    """Refuse what SmartSim cannot start where it has its place.

    Raises:
        PlacementError: saying what.
    """
    hosts = launch.placement.hosts if launch.placement is not None else ()
    if launch.ranks is None:
        if not all(map(is_here, hosts)):
            _refuse(launch, f"has its place on {', '.join(hosts)}", "a program without ranks runs here only")
        return
    if launch.ranks > 1 and scheduler == "local":
        _refuse(
            launch, f"asks for {launch.ranks} ranks", "its local launcher starts one process of a program"
        )
    if launch.placement is not None and launch.placement.beside and scheduler != "local":
        # the plan says on which cores the database is, and this scheduler does not follow it
        _refuse(launch, "has a database beside its ranks", "their scheduler chooses the cores of both")
    gpus = launch.placement is not None and any(rank.gpus for rank in launch.placement.ranks)
    if gpus and scheduler != "lsf":
        _refuse(launch, "asks for GPUs of its ranks", "it has a word for these with LSF only")


def _refuse(launch: Launch, what: str, why: str) -> NoReturn:
    asked = launch.ranks or 1
    message = f"{launch.name!r} {what}, and SmartSim cannot do that: {why}"
    raise PlacementError(message, asked=asked, available=asked - 1, what="ranks")


def _described(launch: Launch) -> Facts:
    """Return a program as SmartSim's process wants it; a shell lets it write its own log."""
    placement = launch.placement
    command = by_hand(launch) if launch.ranks is None else launch.command
    hosts = placement.hosts if placement is not None else ()
    most = max((sum(1 for _ in placement.on(host)) for host in hosts), default=0) if placement else 0
    return {
        "name": launch.name,
        "command": ["sh", "-c", TO_LOG, "sh", str(launch.log), *command],
        "directory": str(launch.directory),
        "environment": dict(launch.environment),
        "ranks": launch.ranks,
        "cores_per_rank": placement.rank_cores if placement is not None else 1,
        "gpus_per_rank": len(placement.ranks[0].gpus) if placement is not None else 0,
        "ranks_per_host": most or None,
    }
