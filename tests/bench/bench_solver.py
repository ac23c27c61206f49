"""What a solver feels: it computes for 20 ms, pushes a field of 2 MB, and goes on.

The reference is the same loop without a push; a ratio of 1.01 is a solver that became 1 % slower. The solver
has one core, the database the other.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from orchestrator.build import built_module
from sim_clients import Address, Client
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from sim_clients.smartredis_client import SmartRedisClient
from tests.bench.bench_shared import SHARED_FROM
from tests.bench.deployed import deployed
from tests.bench.measure import Series, compare, pinned, placements
from tests.integration.servers import Module, RedisServer, system_binary, wheel_binary

STEP_S = 0.02
STEPS = 25
SHAPE = (512, 1024)
ARENA = ("ARENA", "256")
KEPT = 4


class Solver:
    """Jacobi sweeps over a float32 field, as many as 20 ms take on this machine."""

    def __init__(self) -> None:
        self.field = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
        self._next = self.field.copy()
        self._sweeps = 16
        self.step()
        least = min(self._seconds() for _ in range(5))
        self._sweeps = max(1, round(self._sweeps * STEP_S / least))

    def _seconds(self) -> float:
        start = time.perf_counter()
        self.step()
        return time.perf_counter() - start

    def step(self) -> None:
        """Compute one step."""
        for _ in range(self._sweeps):
            np.add(self.field[:-2], self.field[2:], out=self._next[1:-1])
            self._next[1:-1] *= np.float32(0.5)
            self.field, self._next = self._next, self.field


def run(quick: bool) -> dict[str, Any]:
    """Measure every client on one server."""
    cores = placements().get("two cores")
    if cores is None:
        return {"pushing": {"skipped": "a solver and a database need two cores"}}
    build = built_module(print)
    module = Module(build.module, (*build.load_arguments(), *ARENA))
    binary = system_binary() or wheel_binary()
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(binary, Path(directory), (module,))) as server,
    ):
        address = Address.parse(server.address)
        solver = Solver()
        with pinned(*cores, [server.pid]), _opened(address) as clients:
            series = [Series(name, _loop(solver, client), requests=STEPS) for name, client in clients.items()]
            alone = Series("no push", _loop(solver, None), requests=STEPS)
            found = compare(alone, series, server_pids=[server.pid], rounds=3 if quick else 15)
            return {"pushing 2 MB every 20 ms": found}


def _loop(solver: Solver, client: Client | None) -> Callable[[], None]:
    """Return so many steps, each with a push where there is a client."""

    def steps() -> None:
        for step in range(STEPS):
            solver.step()
            if client is not None:
                client.put_tensor(f"u{step % KEPT}", solver.field)

    return steps


@contextmanager
def _opened(address: Address) -> Any:
    """Open one client of each kind."""
    with mock.patch.dict(os.environ, {SHARED_FROM: "0"}):
        socket = NativeClient(address, Identity("bench", 0))
    clients: dict[str, Client] = {
        "NativeClient, shared memory": NativeClient(address, Identity("bench", 1)),
        "NativeClient, Unix socket": socket,
        "SmartRedis": SmartRedisClient(address, Identity("bench", 2)),
    }
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()
