"""The mpi launcher: the ranks of a program on one host or many, by the mpiexec of MPICH or Open MPI.

A program without MPI that has its place on this host is a plain process, as with the local launcher; on
another host mpiexec carries it there.

MPICH's mpiexec passes a SIGTERM on to its ranks, and loses one that comes before they are there; Open MPI's
gives them a second to end after it. What then still runs is killed after the Experiment's time of grace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from orchestrator.errors import PlacementError
from orchestrator.hosts import Inventory, is_here, this_host
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.ends import Ends
from orchestrator.launchers.mpi_argv import check_extra_args, mpiexec_argv, program_outcome
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.processes import Ending, Processes, by_hand, cores_of
from orchestrator.mpiexec import Mpiexec, find_mpiexec
from orchestrator.run_files import tail
from orchestrator.watcher import Session


class MpiLauncher:
    """Starts ranks by mpiexec, which is a process of this host and ends with them."""

    name: ClassVar[str] = "mpi"
    dry: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = ("mpiexec", "extra_args")

    def __init__(
        self, started: Callable[[Session], None] | None = None, options: LaunchOptions | None = None
    ) -> None:
        """Find mpiexec.

        Raises:
            MpiError: there is none, or it is not known whose it is.
            UsageError: further arguments of mpiexec that Penstock gives itself.
        """
        self._options = options or LaunchOptions(self.name)
        check_extra_args(self._options.extra_args)
        self.shown = self._shown()
        self._processes = Processes(started)

    @cached_property
    def mpiexec(self) -> Mpiexec:
        """What starts ranks.

        Raises:
            MpiError: there is none, or it is not known whose it is.
        """
        return find_mpiexec(self._options.mpiexec)

    def _shown(self) -> str:
        return f"{self.name} ({self.mpiexec.flavour.value} {self.mpiexec.version})"

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return nothing: ranks end with their mpiexec."""
        return ()

    def inventory(self) -> Inventory:
        """Return the hosts that were given, or this one."""
        return self._options.hosts or Inventory((this_host(),))

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command of mpiexec, or of the program that needs none."""
        if _is_plain(launch):
            return by_hand(launch)
        root = os.geteuid() == 0
        return mpiexec_argv(self.mpiexec, launch, root=root, extra_args=self._options.extra_args)

    def start(self, launch: Launch, ends: Ends | None = None) -> Job:
        """Start one program and return at once."""
        if _is_plain(launch):
            return self._processes.start(launch, cores=cores_of(launch), ends=ends)
        _check_hosts(launch)
        mpiexec = self.mpiexec

        def outcome(code: int) -> Ending:
            return Ending(program_outcome(mpiexec.flavour, code, tail(launch.log)))

        return self._processes.start(launch, self.argv(launch), outcome=outcome, ends=ends)

    def close(self) -> None:
        """End the thread. All Jobs have ended."""
        self._processes.close()


def _is_plain(launch: Launch) -> bool:
    here = launch.placement is None or all(is_here(host) for host in launch.placement.hosts)
    return launch.ranks is None and here


def _check_hosts(launch: Launch) -> None:
    """Refuse hosts that nobody knows: MPICH's mpiexec would wait for them without an end."""
    hosts = launch.placement.hosts if launch.placement is not None else ()
    for host in (host for host in hosts if not is_here(host)):
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            raise PlacementError(
                f"{launch.name!r} has its place on {host!r}, and this host does not know it: {error}",
                asked=len(hosts),
                available=len(hosts) - 1,
                what="hosts",
            ) from error
