"""PING beside heavy inference: nothing, GET and a large network are asked for by the same number of clients.

The workers of the module have a core of their own; the server's main thread, the load and the prober share
the other: as where a database has more cores than one. On one core everything competes, and GET shows with
what.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from tests.bench.inference import load
from tests.bench.inference.networks import mlp
from tests.bench.inference.prober import Percentiles, Prober
from tests.bench.inference.subject import execute, server, store
from tests.bench.measure import pinned, placements
from tests.bench.wire import WireClient
from tests.integration.servers import RedisServer

CLIENTS = 16
WIDTH = 2048
SECONDS = 1.0


def measure(quick: bool) -> dict[str, Any]:
    """Measure the percentiles of PING over several rounds of each load."""
    network = mlp(64 if quick else WIDTH)
    report: dict[str, Any] = {}
    with server() as running:
        wire = WireClient(running.config.unix_socket)
        store(wire, network)
        store(wire, network, CLIENTS)
        wire.call(b"SET", b"plain", bytes(4 * WIDTH))
        loads: dict[str, tuple[str, ...]] = {
            "nothing": (),
            "GET": ("GET", "plain"),
            network.name: tuple(execute(network)),
            f"{network.name}, BATCHSIZE {CLIENTS}": tuple(execute(network, CLIENTS)),
        }
        for placement, (client_core, server_core) in placements().items():
            with pinned(client_core, client_core, [running.pid]):
                bind_workers(running, server_core)
                report[placement] = _rounds(running, loads, 2 if quick else 9)
        wire.close()
    return report


def bind_workers(running: RedisServer, core: int) -> None:
    """Give every thread of the server but its main one another core."""
    for task in os.listdir(f"/proc/{running.pid}/task"):  # noqa: PTH208
        if int(task) != running.pid:
            os.sched_setaffinity(int(task), {core})


def _rounds(running: RedisServer, loads: dict[str, tuple[str, ...]], rounds: int) -> dict[str, Any]:
    found: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in loads}
    names = list(loads)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            found[name].append(_pinged(running, loads[name], SECONDS / 4 if rounds < 9 else SECONDS))
    rows = [{"name": name, **asdict(Percentiles.of(np.concatenate(each)))} for name, each in found.items()]
    return {"measured": "PING beside", "rounds": rounds, "series": rows}


def _pinged(running: RedisServer, words: tuple[str, ...], seconds: float) -> np.ndarray[Any, Any]:
    with Prober(running.config.unix_socket) as prober:
        waiting = _loaded(running, words) if words else None
        try:
            time.sleep(seconds)  # the length of the measurement
            return prober.stop()
        finally:
            if waiting is not None:
                waiting.kill()
                waiting.wait()


def _loaded(running: RedisServer, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """Start a load that would last for hours."""
    command = load.command(running.config.unix_socket, CLIENTS, 1_000_000_000, words)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
