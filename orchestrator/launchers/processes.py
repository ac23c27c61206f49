"""Processes of this host: started bound to cores, their ends seen by event, killed as trees.

One thread waits for the ends of all processes through their pidfds; nothing is polled. Each process opens a
session of its own, so that a Ctrl-C at the terminal reaches the driver alone, and a signal all of a program.
A kill takes descendants in other sessions too: mpiexec has its ranks in theirs.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from orchestrator.errors import StartFailed
from orchestrator.hosts import numbers_text
from orchestrator.launchers.base import Job, Launch, launch_environment
from orchestrator.laying import lay
from orchestrator.watcher import tree_of

Outcome = Callable[[int], "Ending"]
Translate = Callable[[int], "int | None"]


class Ending(NamedTuple):
    """How a program has ended: its exit code, None where nobody knows it; why in words where that helps."""

    returncode: int | None
    reason: str | None = None


class Processes:
    """The processes that one launcher has started.

    Args:
        started: is told the number of each.
    """

    def __init__(self, started: Callable[[int], None] | None = None) -> None:
        self._started = started
        self._selector = selectors.DefaultSelector()
        self._reaping = (
            threading.Lock()
        )  # a process is not reaped, its number not reused, while it is signalled
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._watch_ends, name="penstock-processes", daemon=True)
        self._thread.start()

    def start(
        self,
        launch: Launch,
        command: Sequence[str] | None = None,
        *,
        cores: Sequence[int] = (),
        outcome: Outcome = Ending,
        translate: Translate = int,
    ) -> Job:
        """Start one process and return at once.

        Args:
            launch: the program.
            command: by which it is started; its own by default.
            cores: the process is bound to them; unbound where there are none.
            outcome: turns the exit code of the process into that of the program.
            translate: turns a signal for the program into that for the process; None where it has been sent
                in another way.

        Raises:
            StartFailed: the operating system refused.
        """
        process = _spawn(launch, command or launch.command, cores)

        def send(number: int) -> None:
            for_process = translate(number)
            if for_process is not None:
                self._signal(process, for_process)

        job = Job(launch, send)
        job.report_started(process.pid)
        if self._started is not None:
            self._started(process.pid)
        self._selector.register(os.pidfd_open(process.pid), selectors.EVENT_READ, (process, job, outcome))
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

    def _watch_ends(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._wake_read:
                    if b"q" in os.read(self._wake_read, 4096):
                        return
                    continue
                self._selector.unregister(key.fd)
                os.close(key.fd)
                process, job, outcome = key.data
                with self._reaping:
                    returncode = process.wait()
                ending = outcome(returncode)
                job.report_ended(ending.returncode, reason=ending.reason)

    def _signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        with self._reaping:
            if process.returncode is not None:
                return
            if number == signal.SIGKILL:
                _kill_tree(process.pid)
            else:
                os.killpg(process.pid, number)

    def _wake(self) -> None:
        """Let the thread select again. epoll sees new descriptors by itself; other selectors do not."""
        os.write(self._wake_write, b"w")


def by_hand(launch: Launch) -> tuple[str, ...]:
    """Return the command that does by hand what `start` does: taskset binds the program to its cores."""
    cores = cores_of(launch)
    return (*(("taskset", "--cpu-list", numbers_text(cores)) if cores else ()), *launch.command)


def cores_of(launch: Launch) -> tuple[int, ...]:
    """Return the cores of a program on one host; none where it is unbound."""
    return launch.placement.cores if launch.placement is not None else ()


def _spawn(launch: Launch, command: Sequence[str], cores: Sequence[int]) -> subprocess.Popen[bytes]:
    try:
        launch.directory.mkdir(parents=True, exist_ok=True)
        lay(launch.inputs, launch.directory)
        with launch.log.open("ab") as log, _bound_to(cores):
            return subprocess.Popen(
                command,
                cwd=launch.directory,
                env=launch_environment(launch),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=launch.inherits,
            )
    except OSError as error:
        raise StartFailed(
            f"{launch.name!r} could not be started: {error}", name=launch.name, command=command
        ) from error


def _kill_tree(root: int) -> None:
    """Kill a process, its descendants and their sessions; again while that shows new ones."""
    killed: set[int] = set()
    while found := tree_of({root, *killed}) - killed:
        for pid in found:
            _kill(pid)
        killed |= found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def _bound_to(cores: Sequence[int]) -> Iterator[None]:
    """Bind the calling thread to cores for a moment: a process inherits the affinity of who starts it."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    if not before.issuperset(cores):
        foreign = ", ".join(map(str, sorted(set(cores) - before)))
        raise OSError(f"core {foreign} is none of the {len(before)} that this process may use here")
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
