"""AI.MODELSTORE of files of 33 KB, 50 MB and 256 MB, against SET of the same bytes.

For each: the time to its answer, the time from there to the first inference, what another client's PINGs wait
meanwhile, and how far the server's resident memory rises over what it was before the first, as a multiple of
the file.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.inference.beside import bind_workers
from tests.bench.inference.networks import Network, of_size
from tests.bench.inference.prober import Percentiles, Prober
from tests.bench.inference.subject import execute, server, set_input
from tests.bench.measure import bootstrap_interval, pinned, placements
from tests.bench.wire import WireClient
from tests.integration.servers import RedisServer

SIZES = {"33 KB": 32 << 10, "50 MB": 50 << 20, "256 MB": 256 << 20}


@dataclass
class Times:
    """One entry for each round."""

    answer_s: list[float] = field(default_factory=list)
    first_run_s: list[float] = field(default_factory=list)
    peak_bytes: list[float] = field(default_factory=list)
    pings_s: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def row(self, name: str, reference: Times, resident: int, size: int) -> dict[str, Any]:
        """Return what is reported; `resident` is the server's memory before the first store."""
        ratios = [mine / its for mine, its in zip(self.answer_s, reference.answer_s, strict=True)]
        low, high = bootstrap_interval(ratios)
        return {
            "name": name,
            "answer_ms": 1e3 * float(np.median(self.answer_s)),
            "ratio": float(np.median(ratios)),
            "ratio_low": low,
            "ratio_high": high,
            "first_run_ms": 1e3 * float(np.median(self.first_run_s)) if self.first_run_s else None,
            "peak_over_file": (float(np.median(self.peak_bytes)) - resident) / size
            if self.peak_bytes
            else None,
            **asdict(Percentiles.of(np.concatenate(self.pings_s))),
        }


def measure(quick: bool) -> dict[str, Any]:
    """Measure each size, the workers of the module on a core of their own."""
    report: dict[str, Any] = {}
    client_core, server_core = list(placements().values())[-1]
    for label, size in list(SIZES.items())[: 1 if quick else None]:
        network = of_size(size)
        with server("PRELOAD", "TORCH") as running, pinned(client_core, client_core, [running.pid]):
            wire = WireClient(running.config.unix_socket)
            _store_and_run(wire, of_size(SIZES["33 KB"]), "warm")  # torch is open and every thread is there
            bind_workers(running, server_core)
            report[label] = _of(network, running, wire, 2 if quick else 9)
            wire.close()
    return report


def _of(network: Network, running: RedisServer, wire: WireClient, rounds: int) -> dict[str, Any]:
    times = {"SET": Times(), "AI.MODELSTORE": Times()}
    # Small files are stored many times in a round, so that there are pings beside them.
    repeat = max(1, min(100, (8 << 20) // len(network.file)))
    wire.call(*set_input(network))
    before = _memory(running, "VmRSS")
    for i in range(rounds):
        for name in sorted(times, reverse=bool(i % 2)):
            act = _set if name == "SET" else _store_and_run
            _round(times[name], running, lambda act=act: act(wire, network, "stored"), repeat)
            wire.call(b"UNLINK", b"stored")
    rows = [each.row(name, times["SET"], before, len(network.file)) for name, each in times.items()]
    return {"measured": "store", "file_bytes": len(network.file), "rounds": rounds, "series": rows}


def _round(
    times: Times,
    running: RedisServer,
    act: Callable[[], tuple[float, float | None]],
    repeat: int,
) -> None:
    Path(f"/proc/{running.pid}/clear_refs").write_text("5")  # the peak starts anew
    with Prober(running.config.unix_socket) as prober:
        took = [act() for _ in range(repeat)]
        times.pings_s.append(prober.stop())
    times.answer_s.append(float(np.median([answer for answer, _ in took])))
    times.first_run_s += [run for _, run in took if run is not None]
    if repeat == 1:
        times.peak_bytes.append(_memory(running, "VmHWM"))


def _set(wire: WireClient, network: Network, key: str) -> tuple[float, None]:
    start = time.perf_counter()
    wire.call(b"SET", key.encode(), network.file)
    return time.perf_counter() - start, None


def _store_and_run(wire: WireClient, network: Network, key: str) -> tuple[float, float]:
    """Return the seconds to the answer of the store, and from there to that of the first run."""
    wire.call(*set_input(network))
    run = [word.encode() for word in execute(network)]
    run[1] = key.encode()
    start = time.perf_counter()
    wire.call(b"AI.MODELSTORE", key.encode(), b"TORCH", b"CPU", b"BLOB", network.file)
    stored = time.perf_counter()
    wire.call(*run)
    return stored - start, time.perf_counter() - stored


def _memory(running: RedisServer, what: str) -> int:
    """Return VmRSS or VmHWM, the peak of it, in bytes."""
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(what)))
