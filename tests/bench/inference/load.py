"""Many clients at once: redis-benchmark, for the limit (GET) and for ours alike, without pipelining."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Sequence
from pathlib import Path

PROGRAM = "redis-benchmark"


def command(socket: Path, clients: int, requests: int, words: Sequence[str]) -> list[str]:
    """Return redis-benchmark's command line."""
    return [PROGRAM, "-s", str(socket), "-c", str(clients), "-n", str(requests), "--csv", *words]


def requests_per_second(socket: Path, clients: int, requests: int, words: Sequence[str]) -> float:
    """Send `requests` commands over `clients` connections, each waiting for its answer; return their rate.

    Raises:
        RuntimeError: the server answered with errors, or redis-benchmark failed.
    """
    done = subprocess.run(
        command(socket, clients, requests, words), capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or "rror" in done.stdout + done.stderr:
        raise RuntimeError(f"{' '.join(words)}: {(done.stdout + done.stderr)[-500:]}")
    row = list(csv.reader(io.StringIO(done.stdout)))[-1]
    return float(row[1])


def seconds(socket: Path, clients: int, requests: int, words: Sequence[str]) -> float:
    """Return the wall seconds that `requests` took together."""
    return requests / requests_per_second(socket, clients, requests, words)
