"""Another client, which pings all the while: what a neighbour's work costs those who only want to talk.

It is a process of its own: `python -m tests.bench.inference.prober SOCKET` says "ready", pings every 200 µs
until its stdin closes, and writes the latencies in µs to stdout as a float64 array. A ping that could not be
sent because the one before it was late is counted with the time it would have waited, so that one long stall
weighs as much as the time it took.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tests.bench.wire import WireClient

INTERVAL_S = 200e-6


def corrected(latencies_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the latencies with those of the pings that were due during a late one; (n,) float64, s."""
    missed = [np.arange(one - INTERVAL_S, 0.0, -INTERVAL_S) for one in latencies_s if one > 2 * INTERVAL_S]
    return np.concatenate([latencies_s, *missed])


@dataclass(frozen=True)
class Percentiles:
    """Latencies of one client, in µs."""

    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float
    pings: int

    @classmethod
    def of(cls, latencies_s: np.ndarray[Any, Any]) -> Percentiles:
        """Make them of latencies in s."""
        all_us = 1e6 * corrected(latencies_s)
        p50, p99, p999 = np.percentile(all_us, [50, 99, 99.9])
        return cls(float(p50), float(p99), float(p999), float(all_us.max()), len(latencies_s))


class Prober:
    """Pings from entering the block until `stop`."""

    def __init__(self, socket: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.inference.prober", str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Prober:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the prober left with status {self._process.wait()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> np.ndarray[Any, Any]:
        """End it and return the latencies; (n,) float64, s."""
        out, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise RuntimeError(f"the prober left with status {self._process.returncode}")
        return np.frombuffer(out, np.float64)


def _main(socket: Path) -> None:
    wire, found = WireClient(socket), []
    for _ in range(200):
        wire.call(b"PING")
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        start = time.perf_counter()
        wire.call(b"PING")
        found.append(time.perf_counter() - start)
        time.sleep(INTERVAL_S)
    sys.stdout.buffer.write(np.asarray(found).tobytes())


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
