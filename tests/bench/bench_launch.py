"""Launch: an ensemble of /bin/true against a posix_spawn loop, the gap between members, the driver's memory.

The loop does nothing but start, as many programs at once as the ensemble; a second one also gives each one a
directory and a log, without which a member could not be told from another. The gap is what a turn takes
beside the member itself, its process's start included, from the time of many that sleep one after another.
"""

from __future__ import annotations

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

TRUE, SLEEP = shutil.which("true") or "/bin/true", shutil.which("sleep") or "/bin/sleep"
SLEEP_S = 0.02


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
    """What the driver's memory grows by when members join, and from then until the last has ended."""
    rows = []
    for count in counts:
        with _experiment() as exp:
            before = _resident_kb()
            group = exp.start(_members([TRUE], count, slots))
            joined = _resident_kb()
            exp.wait(group)
            grown = {"joined_kb": joined - before, "until_the_end_kb": _resident_kb() - joined}
            rows.append({"members": count, **grown})
    return {"series": rows}


def _resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def run(quick: bool) -> dict[str, Any]:
    """Measure the rate, the gap and the memory."""
    slots = min(2, len(os.sched_getaffinity(0)))
    count, rounds = (100, 3) if quick else (500, 9)

    def series(name: str, way: Callable[[list[str], int, int], float]) -> Series:
        return Series(name, lambda: way([TRUE], count, slots), self_timed=True, requests=count)

    return {
        f"start and end of {TRUE}, {slots} at once": compare(
            series("posix_spawn loop", _spawn_loop),
            [series("the same with directory and log", _logging_loop), series("Experiment", _ensemble)],
            rounds=rounds,
        ),
        "gap between two members": _gaps(3 if quick else 5, 50),
        "memory": _memory([100, 1000] if quick else [100, 1000, 5000], slots),
    }
