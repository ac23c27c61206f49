"""Where the time of an operation goes: microseconds in each function, of the client and the server together.

    python -m tests.bench.profiling                     # all of them, into bench-results/profile.json
    python -m tests.bench.profiling "get, socket, 64 MB"

perf samples the core that both processes share, by its clock, while the operation is repeated. The time of a
function, or of all of a library, is its share of the samples times the processor time of an operation, which
the kernel counts. It needs perf and the right to use it: root, or kernel.perf_event_paranoid of 0 or less.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.build import built_module
from tests.bench.bench_clients import RawServer, Subjects, compiled
from tests.bench.bench_cluster import KEYS, subjects
from tests.bench.bench_shared import ARENA, client_of
from tests.bench.bench_solver import STEPS, Solver
from tests.bench.deployed import deployed
from tests.bench.measure import Series, cpu_s, pinned, placements, write
from tests.bench.wire import WireClient
from tests.integration.servers import Module, RedisServer, system_binary, wheel_binary

SECONDS = 4.0
START_S = 30.0
SAMPLES_PER_S = 9973
LEAST_SHARE = 0.02
"""Of an operation, that a function has to take to be named."""
RESULTS = Path("bench-results")
_LINE = re.compile(
    r"\s*(?P<percent>[\d.]+)%\s+(?P<program>\S+)\s+(?P<library>\S+)\s+\[.\]\s+(?P<symbol>\S.*?)\s*$"
)
_PROGRAMS = ("redis-server", "python")
Operation = Callable[[], object]


@contextmanager
def operations(server: RedisServer, raw: ctypes.CDLL, limit: RawServer) -> Iterator[dict[str, Series]]:
    """Return what is looked into, by name."""
    wire = WireClient(server.config.unix_socket)
    small, middle, large = (np.ones(size, np.float32) for size in (1 << 10, 1 << 18, 1 << 24))
    place = np.zeros_like(large)
    view = memoryview(small).cast("B")
    in_c = Subjects(raw, limit, server, small.nbytes)
    with client_of(server, 1) as shared, client_of(server, 0) as plain:
        plain.put_tensor("large", large)
        shared.put_tensor("shared", large)
        ways: dict[str, Operation] = {
            "get, socket, 64 MB": lambda: plain.get_tensor_into("large", place),
            "put, shared memory, 1 MB": lambda: shared.put_tensor("middle", middle),
            "memcpy, 1 MB": lambda: np.copyto(place[: middle.size], middle),
            "map, 64 MB": lambda: shared.map_tensor("shared"),
            "PING": lambda: wire.call(b"PING"),
            "put, socket, 4 KB": lambda: plain.put_tensor("small", small),
            "SET, 4 KB": lambda: wire.call(b"SET", b"set", view),
        }
        found = {name: Series(name, way) for name, way in ways.items()}
        names = {"SET, C": "SET, 4 KB, in C", "libpenstock": "put, socket, 4 KB, in C"}
        found.update({names[one.name]: one for one in in_c.puts()[1] if one.name in names})
        yield found
    wire.close()
    in_c.close()


def profiled(series: Series, servers: Sequence[int], core: int) -> dict[str, Any]:
    """Repeat an operation under perf.

    Args:
        series: what to repeat.
        servers: the processes of the server, or of a cluster's.
        core: on which all run.

    Returns:
        wall_us and cpu_us of one operation, server_us of it in the server; `libraries`, for example
        "redis-server libc.so.6" -> us, and `functions`, "redis-server libc.so.6 memmove" -> us.
    """
    series.operation()
    with tempfile.TemporaryDirectory() as directory, _sampled(core, Path(directory)) as samples:
        begin, cpu, served, count = time.perf_counter(), time.process_time(), sum(map(cpu_s, servers)), 0
        while time.perf_counter() < begin + SECONDS:
            series.operation()
            count += series.requests
        wall = time.perf_counter() - begin
        own, served = time.process_time() - cpu, sum(map(cpu_s, servers)) - served
    cpu_us = 1e6 * (own + served) / count
    functions = {name: share * cpu_us for name, share in samples.items()}
    libraries: Counter[str] = Counter()
    for name, us in functions.items():
        libraries[" ".join(name.split(" ")[:2])] += us
    return {
        "wall_us": 1e6 * wall / count,
        "cpu_us": cpu_us,
        "server_us": 1e6 * served / count,
        "libraries": _largest(libraries, cpu_us),
        "functions": _largest(functions, cpu_us),
    }


def _largest(times: Mapping[str, float], all_of_it: float) -> dict[str, float]:
    ordered = sorted(times.items(), key=lambda one: -one[1])
    return {name: round(us, 2) for name, us in ordered if us >= LEAST_SHARE * all_of_it}


@contextmanager
def _sampled(core: int, directory: Path) -> Iterator[dict[str, float]]:
    """Fill the mapping with the share of each function in what the two programs took, when the block ends."""
    data, shares = directory / "perf.data", {}
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "-o", str(data)]
    with subprocess.Popen([*command, "-C", str(core)], stderr=subprocess.PIPE, text=True) as perf:
        deadline = time.monotonic() + START_S
        while not data.exists():
            if perf.poll() is not None or time.monotonic() > deadline:
                perf.kill()
                raise RuntimeError(f"perf does not run: {perf.communicate()[1].strip()}")
            time.sleep(0.01)
        yield shares
        perf.send_signal(signal.SIGINT)
        perf.communicate()
    told = [
        "perf",
        "report",
        "--stdio",
        "-q",
        "--no-children",
        "-F",
        "overhead,comm,dso,sym",
        "-i",
        str(data),
    ]
    for line in subprocess.run(told, capture_output=True, text=True, check=True).stdout.splitlines():
        found = _LINE.match(line)
        if found and found["program"] in _PROGRAMS:
            name = f"{found['program']} {found['library']} {found['symbol']}"
            shares[name] = shares.get(name, 0) + float(found["percent"])
    whole = sum(shares.values())
    shares.update({name: share / whole for name, share in shares.items()})


def solver(server: RedisServer) -> dict[str, Any]:
    """Split what a solver loses by pushing 2 MB: in the push, and in the steps beside it.

    Returns:
        microseconds of a step alone, of one beside pushes, of a push, and of what is in a push: a memcpy of
        what it copies, to memory last touched two steps ago, and a round trip to a server that sleeps.
    """
    one = Solver()
    rounds: dict[str, list[float]] = {"alone": [], "beside pushes": []}
    wire = WireClient(server.config.unix_socket)
    with client_of(server, 1) as client:
        there = [np.zeros_like(one.field) for _ in range(2)]

        def copy() -> None:
            np.copyto(there[0], one.field)
            there.reverse()

        pushes: Mapping[str, Operation | None] = {
            "alone": None,
            "memcpy": copy,
            "round trip": lambda: wire.call(b"PING"),
            "push": lambda: client.put_tensor("field", one.field),
        }
        for _ in range(12):
            for name, push in pushes.items():
                computing, pushing = _steps(one, push)
                rounds.setdefault(name, []).append(computing if push is None else pushing)
                if name == "push":
                    rounds["beside pushes"].append(computing)
    wire.close()
    return {f"{name}_us": 1e6 * float(np.median(values)) for name, values in rounds.items()}


def cluster(core: int) -> dict[str, Any]:
    """Look into a put and a get of 4 KB by TCP, with one server and with three shards, all on one core."""
    found = {}
    with subjects() as both, pinned(core, core, [pid for subject in both for pid in subject.pids]):
        for subject in both:
            ways = {"put": subject.put, "get": subject.get}
            for name, way in ways.items():
                series = Series(subject.name, way, requests=KEYS)
                found[f"{name} 4 KB, {subject.name}"] = profiled(series, subject.pids, core)
    return found


def _steps(one: Solver, push: Operation | None) -> tuple[float, float]:
    """Return the seconds of a step and of a push, of which there are STEPS in turn."""
    computing = pushing = 0.0
    for _ in range(STEPS):
        begin = time.perf_counter()
        one.step()
        middle = time.perf_counter()
        if push is not None:
            push()
        computing, pushing = computing + middle - begin, pushing + time.perf_counter() - middle
    return computing / STEPS, pushing / STEPS


def main(names: list[str]) -> None:
    """Print where the time of some operations goes, of all by default."""
    if shutil.which("perf") is None:
        raise SystemExit("there is no perf: install linux-perf")
    build = built_module(print)
    module = Module(build.module, (*build.load_arguments(), *ARENA))
    binary = system_binary() or wheel_binary()
    report: dict[str, Any] = {}
    core, _ = placements()["one core"]
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(binary, Path(directory), (module,))) as server,
        closing(RawServer(raw := compiled(Path(directory)), 4 << 10)) as limit,
        operations(server, raw, limit) as all_of_them,
    ):
        with pinned(core, core, [server.pid]):
            for name in names or all_of_them:
                if name in all_of_them:
                    report[name] = profiled(all_of_them[name], [server.pid], core)
        cores = placements().get("two cores")
        if cores is not None and (not names or "solver" in names):
            with pinned(*cores, [server.pid]):
                report["solver"] = solver(server)
    if not names or "cluster" in names:
        report.update(cluster(core))
    for name, found in report.items():
        print(
            f"\n{name}: " + ", ".join(f"{key} {us:.1f}" for key, us in found.items() if key.endswith("_us"))
        )
        for table in ("libraries", "functions"):
            for what, us in found.get(table, {}).items():
                print(f"  {us:10.2f}  {what}")
    print(write(RESULTS, "profile", report))


if __name__ == "__main__":
    main(sys.argv[1:])
