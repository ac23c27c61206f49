"""The local launcher: processes on this host, bound to cores by affinity, their ends seen by event.

One thread waits for the ends of all processes through their pidfds; nothing is polled. Each program opens a
session of its own, so that a Ctrl-C at the terminal reaches the driver alone, and a signal all of a program.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from orchestrator.errors import PlacementError, StartFailed
from orchestrator.hosts import Inventory, numbers_text, this_host
from orchestrator.launchers.base import Job, Launch, launch_environment


class LocalLauncher:
    """Starts programs as processes of this host."""

    name: ClassVar[str] = "local"
    dry: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False

    def __init__(self, started: Callable[[int], None] | None = None, hosts: Inventory | None = None) -> None:
        """Make a launcher that tells `started` the number of each process it starts.

        Other hosts than this one are for a preview: as if this host were one of them.
        """
        self.shown = self.name
        self._started = started
        self._hosts = hosts
        self._selector = selectors.DefaultSelector()
        self._reaping = (
            threading.Lock()
        )  # a process is not reaped, its number not reused, while it is signalled
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._watch_ends, name="penstock-local", daemon=True)
        self._thread.start()

    def inventory(self) -> Inventory:
        """Return what this host has for us."""
        return self._hosts or Inventory((this_host(),))

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command of one program: taskset does by hand what `start` does itself."""
        _check_one_process(launch)
        cores = launch.placement.cores if launch.placement is not None else ()
        return (*(("taskset", "--cpu-list", numbers_text(cores)) if cores else ()), *launch.command)

    def start(self, launch: Launch) -> Job:
        """Start one program and return at once."""
        _check_one_process(launch)
        process = self._spawn(launch)
        job = Job(launch, lambda number: self._signal(process, number))
        job.report_started(process.pid)
        if self._started is not None:
            self._started(process.pid)
        self._selector.register(os.pidfd_open(process.pid), selectors.EVENT_READ, (process, job))
        self._wake()
        return job

    def close(self) -> None:
        """End the thread. All Jobs have ended."""
        os.write(self._wake_write, b"q")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        os.close(self._wake_write)
        self._selector.close()

    def _spawn(self, launch: Launch) -> subprocess.Popen[bytes]:
        cores = launch.placement.cores if launch.placement is not None else ()
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            with launch.log.open("ab") as log, _bound_to(cores):
                return subprocess.Popen(
                    launch.command,
                    cwd=launch.directory,
                    env=launch_environment(launch),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise StartFailed(
                f"{launch.name!r} could not be started: {error}", name=launch.name, command=launch.command
            ) from error

    def _watch_ends(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._wake_read:
                    if b"q" in os.read(self._wake_read, 4096):
                        return
                    continue
                self._selector.unregister(key.fd)
                os.close(key.fd)
                process, job = key.data
                with self._reaping:
                    returncode = process.wait()
                job.report_ended(returncode)

    def _signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        with self._reaping:
            if process.returncode is None:
                os.killpg(process.pid, number)

    def _wake(self) -> None:
        """Let the thread select again. epoll sees new descriptors by itself; other selectors do not."""
        os.write(self._wake_write, b"w")


def _check_one_process(launch: Launch) -> None:
    if launch.ranks != 1:
        raise PlacementError(
            f"{launch.name!r} asks for {launch.ranks} ranks, and the local launcher starts one process; "
            "put mpirun in front of its command",
            asked=launch.ranks,
            available=1,
            what="ranks",
        )


@contextmanager
def _bound_to(cores: tuple[int, ...]) -> Iterator[None]:
    """Bind the calling thread to cores for a moment: a process inherits the affinity of who starts it."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
