"""The slurm launcher: programs as steps of the allocation that the driver runs in, by srun.

A program without MPI that has its place on this host is a plain process, as with the local launcher. Each
other one is an srun on this host, which passes its output on and ends with it. A signal goes to the step,
through the controller; a kill is the SIGTERM by which srun kills all of a step. A step whose srun was killed
by somebody would stay in Slurm's list for ever, so it is ended too.

Slurm loses a SIGTERM that comes after a step was made and before its programs are there; these are killed
after the Experiment's time of grace.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import ClassVar

from orchestrator.errors import UsageError
from orchestrator.hosts import Inventory, is_here
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.processes import Ending, Processes, by_hand, cores_of
from orchestrator.launchers.slurm_argv import (
    check_extra_args,
    lost,
    never_started,
    program_outcome,
    srun_argv,
    step_name,
)
from orchestrator.run_files import tail
from orchestrator.slurm import allocation_here, end_steps, find_command, find_steps, inventory_of, signal_step

SLURM_PROGRAM = "orchestrator.slurm"
TAIL_LINES = 200
NODE_VARIABLE = "SLURMD_NODENAME"
NO_ALLOCATION = (
    "the launcher 'slurm' starts steps in an allocation, and this is none: get one with salloc, "
    "or let Penstock: penstock run EXPERIMENT --on slurm --nodes N --time H:MM:SS. "
    "--preview --hosts NAME:CORES,... shows what would run in one"
)


class SlurmLauncher:
    """Starts programs on the hosts of this allocation."""

    name: ClassVar[str] = "slurm"
    dry: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = ("extra_args",)

    def __init__(
        self, started: Callable[[int], None] | None = None, options: LaunchOptions | None = None
    ) -> None:
        """Ask Slurm which hosts there are.

        Raises:
            UsageError: this process runs in no allocation; or further arguments that Penstock gives itself.
            SlurmError: there is no srun, or Slurm does not tell.
        """
        self._options = options or LaunchOptions(self.name)
        check_extra_args(self._options.extra_args)
        self._job = allocation_here() or ""
        if not self._job and not (self._options.preview and self._options.hosts):
            raise UsageError(NO_ALLOCATION)
        self.shown = f"{self.name} (job {self._job})" if self._job else self.name
        if not self._options.preview:
            find_command("srun")
        self._inventory = self._options.hosts or inventory_of(self._job)
        self._processes = Processes(started)

    @staticmethod
    def undo(run_id: str) -> tuple[str, ...]:
        """Return the command that ends the steps of a run; without their srun they would stay listed."""
        job = allocation_here()
        return (sys.executable, "-m", SLURM_PROGRAM, job, run_id) if job is not None else ()

    def inventory(self) -> Inventory:
        """Return the hosts of the allocation, or those of them that were given."""
        return self._inventory

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command of srun, or of the program that needs none."""
        return by_hand(launch) if _is_plain(launch) else srun_argv(launch, self._options.extra_args)

    def start(self, launch: Launch) -> Job:
        """Start one program and return at once."""
        if _is_plain(launch):
            return self._processes.start(launch, cores=cores_of(launch))
        before = launch.log.stat().st_size if launch.log.exists() else 0  # of attempts that failed
        forced: list[int] = []

        def translate(number: int) -> int | None:
            if number != signal.SIGKILL and self._signal_step(launch, number):
                return None
            forced.append(number)
            return signal.SIGTERM

        def outcome(code: int) -> Ending:
            if code < 0 and not forced:
                end_steps(self._job, step_name(launch))
                return Ending(code, f"is lost: its srun was killed by {signal.Signals(-code).name}")
            said = tail(launch.log, TAIL_LINES, since=before)
            if code == 0 and (reason := lost(said)) is not None:
                return Ending(None, reason)
            ended = program_outcome(code, said)
            if ended == -signal.SIGKILL and forced:  # srun's own way to end it
                ended = -forced[-1]
            return Ending(ended, never_started(said) if code else None)

        return self._processes.start(launch, self.argv(launch), outcome=outcome, translate=translate)

    def close(self) -> None:
        """End the thread. All Jobs have ended."""
        self._processes.close()

    def _signal_step(self, launch: Launch, number: int) -> bool:
        """Send a signal to the step of a program; return whether there is one."""
        steps = find_steps(self._job, step_name(launch))
        for step in steps[-1:]:
            signal_step(step, number)
        return bool(steps)


def _is_plain(launch: Launch) -> bool:
    hosts = launch.placement.hosts if launch.placement is not None else ()
    return launch.ranks is None and all(
        is_here(host) or host == os.environ.get(NODE_VARIABLE) for host in hosts
    )
