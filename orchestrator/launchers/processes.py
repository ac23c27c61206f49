"""Processes of this host: started bound to cores, their ends seen by event, killed as trees.

One thread waits for the ends of all processes that nobody else waits for; nothing is polled. Each opens a
session of its own, so that a Ctrl-C at the terminal reaches the driver alone, and a signal all of a program.
A kill takes descendants in other sessions too: mpiexec has its ranks in theirs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.errors import StartFailed
from orchestrator.hosts import numbers_text
from orchestrator.launchers.base import Job, Launch, launch_environment
from orchestrator.launchers.ends import Ends
from orchestrator.laying import lay
from orchestrator.watcher import Session, read_stat, ticks_since_boot, tree_of

Outcome = Callable[[int], "Ending"]
Translate = Callable[[int], "int | None"]

LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
LOG_MODE = 0o666


class Ending(NamedTuple):
    """How a program has ended: its exit code, None where nobody knows it; why in words where that helps."""

    returncode: int | None
    reason: str | None = None


class Processes:
    """The processes that one launcher has started.

    Args:
        started: is told of each.
    """

    def __init__(self, started: Callable[[Session], None] | None = None) -> None:
        self._started = started
        self._reaping = threading.Lock()  # no process is reaped, its number not reused, while it is signalled
        self._ends = Ends()
        self._over = False
        self._thread = threading.Thread(target=self._hear, name="penstock-processes", daemon=True)
        self._thread.start()

    def start(
        self,
        launch: Launch,
        command: Sequence[str] | None = None,
        *,
        cores: Sequence[int] = (),
        outcome: Outcome = Ending,
        translate: Translate = int,
        ends: Ends | None = None,
    ) -> Job:
        """Start one process and return at once.

        Args:
            launch: the program.
            command: by which it is started; its own by default.
            cores: the process is bound to them; unbound where there are none.
            outcome: turns the exit code of the process into that of the program.
            translate: turns a signal for the program into that for the process; None where it has been sent
                in another way.
            ends: where its end is heard; on the thread of all these processes by default.

        Raises:
            StartFailed: the operating system refused.
        """
        began = ticks_since_boot()
        process = _spawn(launch, command or launch.command, cores)
        start_time = _start_time(process.pid, began)

        def send(number: int) -> None:
            for_process = translate(number)
            if for_process is not None:
                self._signal(process, for_process)

        job = Job(launch, send)
        job.report_started(process.pid, start_time)
        if self._started is not None and start_time is not None:
            self._started(Session(process.pid, start_time))
        (ends or self._ends).watch(process.pid, partial(self._end, process, job, outcome))
        return job

    def close(self) -> None:
        """End the thread. All Jobs have ended."""
        self._over = True
        self._ends.wake()
        self._thread.join()
        self._ends.close()

    def _hear(self) -> None:
        while not self._over:
            for heard in self._ends.hear():
                heard()

    def _end(self, process: subprocess.Popen[bytes], job: Job, outcome: Outcome) -> None:
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


def by_hand(launch: Launch) -> tuple[str, ...]:
    """Return the command that does by hand what `start` does: taskset binds the program to its cores."""
    cores = cores_of(launch)
    return (*(("taskset", "--cpu-list", numbers_text(cores)) if cores else ()), *launch.command)


def cores_of(launch: Launch) -> tuple[int, ...]:
    """Return the cores of a program on one host; none where it is unbound."""
    return launch.placement.cores if launch.placement is not None else ()


def _spawn(launch: Launch, command: Sequence[str], cores: Sequence[int]) -> subprocess.Popen[bytes]:
    try:
        _make_directory(launch.directory)
        lay(launch.inputs, launch.directory)
        log = os.open(launch.log, LOG_FLAGS, LOG_MODE)
        try:
            environment = launch_environment(launch)
            with _bound_to(cores):
                return subprocess.Popen(
                    command,
                    cwd=launch.directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=launch.inherits,
                )
        finally:
            os.close(log)
    except OSError as error:
        raise StartFailed(
            f"{launch.name!r} could not be started: {error}", name=launch.name, command=command
        ) from error


def _start_time(pid: int, began: int) -> int | None:
    """Return the tick since boot in which a process started, no earlier than `began`; None if it is hidden.

    It is that one if it still is. Else /proc tells; looking there takes a tenth of all that a start does.
    """
    if ticks_since_boot() == began:
        return began
    stat = read_stat(pid)
    return stat.start_time if stat is not None else None


def _make_directory(directory: Path) -> None:
    try:
        os.mkdir(directory)  # noqa: PTH102  the usual case, where all that is above it is there
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if not directory.is_dir():
            raise


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
    """Bind the calling thread to cores for a moment: a process inherits the affinity of who starts it.

    Afterwards it goes to other cores before it may use all. The scheduler would leave it on those of the new
    process, where it waits for that while others are idle.
    """
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
        if others := before.difference(cores):
            os.sched_setaffinity(0, others)
        os.sched_setaffinity(0, before)
