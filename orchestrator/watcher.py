"""End everything a run has started once its driver has gone, also by SIGKILL.

A driver starts this file as a small program of its own (standard library only, no imports from the package,
so that it is up in milliseconds). The watcher waits until either the driver's process ends or the pipe that
leads from it closes; unless the driver has said goodbye there (`bye`) it kills

- every process of the sessions that the driver has noted, and
- every process whose environment carries the run's id: also grandchildren in sessions of their own,

runs a command, where it was given one, that ends what the run has left on other hosts, and removes the
runtime directory with its sockets and lock. It touches nothing else. A process is told
by session *and* start time, so one that was given a used number later is never hit. The driver uses the same
`sweep` when it leaves in good order.

The driver notes each session it opens in a file in memory that both have open, a line each: PID START_TIME.
So the watcher sleeps meanwhile, however many there are, and one that takes its place knows them all.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RUN_ID_VARIABLE = "PENSTOCK_RUN_ID"
SWEEP_DEADLINE_S = 10.0
GOODBYE = b"bye"


class Session(NamedTuple):
    """A session that the run opened: the number of its first process, and when that started."""

    leader: int
    start_time: int


class ProcessStat(NamedTuple):
    """What /proc says of one process; `start_time` is in clock ticks since boot."""

    pid: int
    state: str
    parent: int
    session: int
    start_time: int


def read_stat(pid: int) -> ProcessStat | None:
    """Return what /proc says of a process, None when there is no such process any more."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        text = os.read(file, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(file)
    fields = text[text.rindex(b")") + 2 :].split()
    return ProcessStat(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def ticks_since_boot() -> int:
    """Return the time as /proc tells when a process started: in clock ticks since boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") // 1_000_000_000


def everybody() -> Iterator[ProcessStat]:
    """Yield what /proc says of every process that is alive."""
    for entry in os.listdir("/proc"):  # noqa: PTH208
        stat = read_stat(int(entry)) if entry.isdigit() else None
        if stat is not None and stat.state not in "ZX":
            yield stat


def tree_of(roots: set[int]) -> set[int]:
    """Return processes with their descendants, and all of the sessions that any of them has opened."""
    stats = list(everybody())
    found = set(roots)
    while more := {s.pid for s in stats if s.parent in found or s.session in found} - found:
        found |= more
    return found & {stat.pid for stat in stats}


def carries(pid: int, run_id: str) -> bool:
    """Tell whether a process was started with the id of a run in its environment."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone: not ours
        return False
    return f"{RUN_ID_VARIABLE}={run_id}".encode() in variables


def belonging(run_id: str, sessions: set[Session]) -> Iterator[int]:
    """Yield the processes of a run that are alive, never this process itself."""
    leaders = {session.leader: session.start_time for session in sessions}
    reused = {
        leader
        for leader, start_time in leaders.items()
        if (stat := read_stat(leader)) is not None and stat.start_time != start_time
    }
    for stat in everybody():
        if stat.pid == os.getpid():
            continue
        ours = stat.session in leaders and stat.session not in reused and _later(stat, leaders)
        if ours or carries(stat.pid, run_id):
            yield stat.pid


def sweep(run_id: str, sessions: set[Session]) -> list[int]:
    """Kill the processes of a run until none is left; return those that were hit.

    Raises:
        TimeoutError: some could not be killed.
    """
    hit: list[int] = []
    deadline = time.monotonic() + SWEEP_DEADLINE_S
    while alive := list(belonging(run_id, sessions)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of the run {run_id} cannot be killed: {alive}")
        hit.extend(pid for pid in alive if _kill(pid))
        time.sleep(0.005)
    return hit


def _later(stat: ProcessStat, leaders: dict[int, int]) -> bool:
    return stat.start_time >= leaders[stat.session]


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def note_session(notes: int, session: Session) -> None:
    """Add a session to the notes, an open file."""
    os.write(notes, b"%d %d\n" % session)


def noted_sessions(notes: int) -> set[Session]:
    """Return all sessions that the notes have. Where a driver writes on is not changed by that."""
    text = os.pread(notes, os.fstat(notes).st_size, 0)
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    return {Session(*map(int, line.split())) for line in lines}


def watch(driver: int, pipe: int) -> bool:
    """Wait for the end of the driver; return whether it said goodbye before."""
    end = _end_of(driver)
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if end is not None:
        poll.register(end, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    return pipe in ready and os.read(pipe, len(GOODBYE)) == GOODBYE


def _end_of(driver: int) -> int | None:
    """A descriptor that becomes readable when the driver ends; None without it (the pipe is left)."""
    try:
        return os.pidfd_open(driver)
    except OSError:
        return None


def main(driver: int, notes: int, run_id: str, runtime: str, *undo: str) -> None:
    """Watch, and clean up after a driver that did not say goodbye; `undo` is the command for other hosts.

    Signals that end a driver in good order must not end its watcher first.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not watch(driver, sys.stdin.fileno()):
        try:
            sweep(run_id, noted_sessions(notes))
        finally:
            if undo:
                os.waitpid(os.posix_spawnp(undo[0], undo, os.environ), 0)
            shutil.rmtree(runtime, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
