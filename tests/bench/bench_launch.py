"""Launch: an ensemble of /bin/true against a posix_spawn loop and Parsl; the gap between members; memory.

The loop does nothing but start, as many programs at once as the ensemble: with two on two cores these have
nothing left for anybody else. Another one also gives each program a directory and a log, without which a
member could not be told from another, and a third starts one after the other. The gap is what a turn takes
beside the member itself, its process's start included, from the time of many that sleep one after another.

On a disk, making a directory and a file may cost more than all else; the rate is measured in memory
(/dev/shm) too, where there is one.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator import Ensemble, Experiment, JobState, Resources
from orchestrator.hosts import this_host
from tests.bench.measure import Series, compare
from tests.bench.own_python import PARSL, parsl_rate

TRUE, SLEEP = shutil.which("true") or "/bin/true", shutil.which("sleep") or "/bin/sleep"
SLEEP_S = 0.02
IN_MEMORY = Path("/dev/shm")


def _spawn_loop(command: list[str], count: int, slots: int, directory: Path | None = None) -> float:
    """Start so many programs, as many at once as there are slots, and return how long it took, s.

    With a directory each gets one of its own in it, with a log.
    """
    began = time.perf_counter()
    running = 0
    for number in range(count):
        if running == slots:
            os.wait()
            running -= 1
        actions = [] if directory is None else _log_actions(directory / str(number))
        os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        running += 1
    for _ in range(running):
        os.wait()
    return time.perf_counter() - began


def _log_actions(own: Path) -> list[tuple[object, ...]]:
    own.mkdir()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return [(os.POSIX_SPAWN_OPEN, 1, str(own / "log.txt"), flags, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]


def _logging_loop(command: list[str], count: int, slots: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        return _spawn_loop(command, count, slots, Path(directory))


@contextmanager
def _experiment() -> Iterator[Experiment]:
    with (
        tempfile.TemporaryDirectory() as directory,
        Experiment("bench", run_dir=Path(directory) / "run") as exp,
    ):
        yield exp


def _members(command: list[str], count: int, slots: int) -> Ensemble:
    """An Ensemble of which so many members run at once, whatever cores this host has."""
    cores = len(this_host().cores) // slots
    return Ensemble("m", command, replicas=count, resources=Resources(cores=cores))


def _ensemble(command: list[str], count: int, slots: int) -> float:
    with _experiment() as exp:
        began = time.perf_counter()
        group = exp.start(_members(command, count, slots))
        exp.wait()
        took = time.perf_counter() - began
        if group.state is not JobState.COMPLETED:
            raise AssertionError(f"{group} was to complete")
        return took


def _gap_ms(took_s: float, count: int) -> float:
    return (took_s / count - SLEEP_S) * 1e3


def _gaps(rounds: int, count: int) -> dict[str, Any]:
    command = [SLEEP, str(SLEEP_S)]
    ways = {"posix_spawn loop": _spawn_loop, "Experiment": _ensemble}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(_gap_ms(way(command, count, 1), count))
    return {
        "series": [
            {"name": name, "gap_ms": statistics.median(gaps), "least_ms": min(gaps), "most_ms": max(gaps)}
            for name, gaps in found.items()
        ]
    }


def _memory(counts: list[int], slots: int) -> dict[str, Any]:
    """How much memory the driver has when members have joined, when 100 have ended and when all have.

    Each count is measured in a process of its own, so that none finds what another has left.
    """
    return {"series": [_in_a_fork(lambda count=count: _memory_of(count, slots)) for count in counts]}


def _memory_of(count: int, slots: int) -> dict[str, Any]:
    with _experiment() as exp:
        before = _resident_kb()
        group = exp.start(_members([TRUE], count, slots))
        joined = _resident_kb()
        group.jobs[99].wait()
        hundred = _resident_kb()
        exp.wait(group)
        return {
            "members": count,
            "before_kb": before,
            "joined_kb": joined,
            "100_ended_kb": hundred,
            "all_ended_kb": _resident_kb(),
        }


def _in_a_fork(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(measure()))
    process.start()
    theirs.close()
    found: dict[str, Any] = ours.recv()
    process.join()
    return found


def _beside_parsl(count: int, slots: int, rounds: int) -> dict[str, Any]:
    if not PARSL.is_there():
        return {"skipped": PARSL.missing()}
    ways = {
        "Parsl's HTEX": lambda: parsl_rate([TRUE], count, slots),
        "Experiment": lambda: _ensemble([TRUE], count, slots),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way() / count * 1e6)
    return {
        "series": [
            {"name": name, "us": statistics.median(some), "least_us": min(some), "most_us": max(some)}
            for name, some in found.items()
        ]
    }


def _rate(count: int, slots: int, rounds: int) -> dict[str, Any]:
    def series(name: str, way: Callable[[list[str], int, int], float]) -> Series:
        return Series(name, lambda: way([TRUE], count, slots), self_timed=True, requests=count)

    return compare(
        series("posix_spawn loop", _spawn_loop),
        [
            series("the same with directory and log", _logging_loop),
            series("the same, one at a time", lambda command, count, _: _spawn_loop(command, count, 1)),
            series("Experiment", _ensemble),
        ],
        rounds=rounds,
    )


@contextmanager
def _temporary(directory: Path) -> Iterator[None]:
    """Make temporary files in a directory."""
    before, tempfile.tempdir = tempfile.tempdir, str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def run(quick: bool) -> dict[str, Any]:
    """Measure the rate, the gap and the memory."""
    slots = min(2, len(os.sched_getaffinity(0)))
    count, rounds = (100, 3) if quick else (500, 9)
    what = f"start and end of {TRUE}, {slots} at once"
    report = {what: _rate(count, slots, rounds)}
    if IN_MEMORY.is_dir():
        with _temporary(IN_MEMORY):
            report[f"{what}, files in memory"] = _rate(count, slots, rounds)
    return {
        **report,
        "gap between two members": _gaps(3 if quick else 5, 50),
        "memory of the driver": _memory([100, 1000] if quick else [100, 1000, 5000], slots),
        "beside Parsl": _beside_parsl(count, slots, 2 if quick else 5),
    }
