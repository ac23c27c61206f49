"""The pbs launcher: programs on the hosts of the PBS job that the driver runs in, by mpiexec.

All but where its hosts come from is the launcher mpi: with Open MPI, MPICH or Cray PALS, as it is found. PBS
itself starts no programs. A job on one host whose programs have no ranks needs no mpiexec, so one is only
looked for when a program does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar

from orchestrator.errors import MpiError, UsageError
from orchestrator.hosts import Inventory
from orchestrator.launchers.mpi import MpiLauncher
from orchestrator.launchers.options import LaunchOptions
from orchestrator.progress import say
from orchestrator.schedulers.pbs import JOB_VARIABLE, hosts_of_job
from orchestrator.watcher import Session

THREADS_VARIABLE = "NCPUS"
NO_JOB = (
    "the launcher 'pbs' starts programs in a job of PBS, and this is none: get one with qsub -I, "
    "or let Penstock: penstock run EXPERIMENT --on pbs --nodes N --time H:MM:SS --per-node ncpus=C. "
    "--preview --hosts NAME:CORES,... shows what would run in one"
)


class PbsLauncher(MpiLauncher):
    """Starts programs on the hosts of this job."""

    name: ClassVar[str] = "pbs"

    def __init__(
        self, started: Callable[[Session], None] | None = None, options: LaunchOptions | None = None
    ) -> None:
        """Read which hosts there are, and find mpiexec.

        Raises:
            UsageError: this process runs in no job; or further arguments that Penstock gives itself.
            PbsError: the hosts of the job are not told.
        """
        options = options or LaunchOptions(self.name)
        job = os.environ.get(JOB_VARIABLE)
        if not job and not (options.preview and options.hosts):
            raise UsageError(NO_JOB)
        self._hosts = options.hosts or hosts_of_job()
        super().__init__(started, options)
        self.shown = f"{self.shown}, job {job}" if job else self.shown
        if options.hosts is None:
            _tell_of_cores(self._hosts)

    def _shown(self) -> str:
        try:
            return super()._shown()
        except MpiError:
            return f"{self.name} (no mpiexec)"

    def inventory(self) -> Inventory:
        """Return the hosts of the job, or those of them that were given."""
        return self._hosts


def _tell_of_cores(hosts: Inventory) -> None:
    """Say that cores lie idle, where a job was asked for without mpiprocs: its hosts are named once then."""
    threads = os.environ.get(THREADS_VARIABLE, "")
    if threads.isdecimal() and int(threads) > 1 and hosts.core_count == len(hosts.hosts):
        say(
            f"the job has {threads} cores of each host and names it once, so one core of each is used; "
            f"ask for mpiprocs={threads} too, or say --hosts NAME:{threads},..."
        )
