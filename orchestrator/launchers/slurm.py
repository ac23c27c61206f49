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
from pathlib import Path
from typing import ClassVar

from orchestrator.errors import SlurmError, UsageError
from orchestrator.hosts import Inventory, is_here
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.ends import Ends
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
from orchestrator.progress import say
from orchestrator.run_files import tail
from orchestrator.slurm import (
    Allocation,
    allocation_here,
    allocation_of,
    find_command,
    find_steps,
    jobs_here,
    signal_step,
)
from orchestrator.watcher import Session

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
        self, started: Callable[[Session], None] | None = None, options: LaunchOptions | None = None
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
        self._allocation = _allocation(self._job, self._options.hosts)
        self._processes = Processes(started)

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return what ends the steps of a run, which would stay listed else, and clears their hosts."""
        jobs = jobs_here()
        return (sys.executable, "-m", SLURM_PROGRAM, jobs, run_id, str(runtime)) if jobs else ()

    def inventory(self) -> Inventory:
        """Return the hosts of the allocation, or those of them that were given."""
        return self._allocation.inventory

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command of srun, or of the program that needs none."""
        if _is_plain(launch):
            return by_hand(launch)
        return srun_argv(launch, self._options.extra_args, self._allocation.groups)

    def start(self, launch: Launch, ends: Ends | None = None) -> Job:
        """Start one program and return at once."""
        if _is_plain(launch):
            return self._processes.start(launch, cores=cores_of(launch), ends=ends)
        step = _Step(jobs_here(), launch)
        return self._processes.start(
            launch, self.argv(launch), outcome=step.outcome, translate=step.translate, ends=ends
        )

    def close(self) -> None:
        """End the thread. All Jobs have ended."""
        self._processes.close()


class _Step:
    """The step of one program: how it is told to end, and what its srun's end means."""

    def __init__(self, jobs: str, launch: Launch) -> None:
        self._jobs = jobs
        self._launch = launch
        self._name = step_name(launch)
        self._log_before = launch.log.stat().st_size if launch.log.exists() else 0  # of attempts that failed
        self._forced: int | None = None  # the signal in whose place srun was told to kill

    def translate(self, number: int) -> int | None:
        """Send a signal to the step; return what srun is sent where that cannot be, or is to kill."""
        if number != signal.SIGKILL and self._signal(number):
            return None
        self._forced = number
        return signal.SIGTERM

    def outcome(self, code: int) -> Ending:
        """Return how the program has ended, where srun has ended with a code, or by a signal below 0."""
        if code < 0:
            left = self._end()
            if self._forced is not None:
                return Ending(-self._forced, left)
            told = f"is lost: its srun was killed by {signal.Signals(-code).name}"
            return Ending(code, told if left is None else f"{told}; {left}")
        said = tail(self._launch.log, TAIL_LINES, since=self._log_before)
        if code == 0:
            reason = lost(said)
            return Ending(0 if reason is None else None, reason)
        ended = program_outcome(code, said)
        if ended == -signal.SIGKILL and self._forced is not None:
            ended = -self._forced
        return Ending(ended, never_started(said))

    def _signal(self, number: int) -> bool:
        """Send a signal to the step; return whether there is one, and Slurm has passed it on."""
        try:
            steps = find_steps(self._jobs, self._name)
            for step in steps[-1:]:
                signal_step(step, number)
        except SlurmError as error:
            say(f"{self._launch.name} cannot be told to end, and is killed: {error}")
            return False
        return bool(steps)

    def _end(self) -> str | None:
        """End the step, whose srun was killed; return what to say where that cannot be done."""
        try:
            for step in find_steps(self._jobs, self._name):
                signal_step(step, signal.SIGKILL)
        except SlurmError as error:
            return f"its step may still run: {error}"
        return None


def _allocation(job: str, hosts: Inventory | None) -> Allocation:
    """Return what a job has, or the hosts of it that were given; Slurm is asked no more than is needed."""
    if hosts is None:
        return allocation_of(job)
    return Allocation(hosts, allocation_of(job).groups if "," in jobs_here() else {})


def _is_plain(launch: Launch) -> bool:
    hosts = launch.placement.hosts if launch.placement is not None else ()
    return launch.ranks is None and all(
        is_here(host) or host == os.environ.get(NODE_VARIABLE) for host in hosts
    )
