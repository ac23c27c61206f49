"""What feeds the network: batches from the loader, beside torch's DataLoader and redis-py, and who waits.

A batch is 16 samples of two fields of 256 x 256 floats, 8.4 MB. `memory`: of samples that are there already,
against a DataLoader without workers over the same ones; on two cores both may use both. `fetch`: of snapshots
that wait in the database, each used once, against MGET of the same bytes by redis-py. All are stacked into
tensors, and all are checked.
`idle`: the share of its time that a network waits for batches once the first has come, while a solver puts.

The allocator keeps what it has (`mallopt`). By itself it gives large blocks back to the system in some runs
and in others not, by what was allocated before; then the references take twice (MGET) or six times
(DataLoader) as long, for new pages have to be cleared. So they are measured at their best.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import redis
import torch
from torch.utils.data import DataLoader

from orchestrator.build import built_module
from sim_clients import Bound, MemoryClient, MemoryDatabase
from sim_clients.keys import DEFAULT_STREAM
from sim_clients.native_client import NativeClient
from tests.bench.bench_shared import client_of
from tests.bench.deployed import deployed
from tests.bench.measure import ROUNDS, Series, bind, compare, pinned, placements
from tests.integration.servers import Module, RedisServer, system_binary, wheel_binary
from trainers import Fifo, Reservoir
from trainers.batches import Batch, batch_of
from trainers.intake import Intake
from trainers.loader import Loader
from trainers.pairing import Pairing
from trainers.samples import Sample
from trainers.stream import SnapshotStream

ARENA = ("ARENA", "1024")
SHAPE = (256, 256)
BATCH = 16
BATCHES = 4
SAMPLES = 256
AHEAD = (0, 2)
IDLE_S = 5.0
QUICK_IDLE_S = 1.0
FIELDS = ("u", "v")
PARTS = ("memory", "fetch", "idle")
ROOT = Path(__file__).parents[2]
SOLVER = Path(__file__).with_name("feed_solver.py")


def run(quick: bool, parts: Sequence[str]) -> dict[str, Any]:
    """Measure some parts, or all, on one core and on two."""
    torch.set_num_threads(1)
    _keep_memory()
    build = built_module(print)
    module = Module(build.module, (*build.load_arguments(), *ARENA))
    binary = system_binary() or wheel_binary()
    rounds, idle_s = (3, QUICK_IDLE_S) if quick else (ROUNDS, IDLE_S)
    report: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(binary, Path(directory), (module,))) as server,
        client_of(server, 1) as shared,
        client_of(server, 0) as plain,
    ):
        clients = {"shared memory": shared, "socket": plain}
        for step in range(BATCH * BATCHES):
            shared.put_snapshot(step, _fields(step))
        shared.end_stream()
        for part, (placement, cores) in itertools.product(parts or PARTS, placements().items()):
            with pinned(*cores, [server.pid]):
                report[f"{part}, {placement}"] = {
                    "memory": lambda cores=cores: _memory(cores, rounds),
                    "fetch": lambda: _fetch(server, clients, rounds),
                    "idle": lambda cores=cores: _idles(server, clients, cores[1], idle_s),
                }[part]()  # type: ignore[misc]
    return report


def _keep_memory() -> None:
    """Have malloc of this process keep blocks of up to 1 GB that are freed, for those to come."""
    trim_threshold, mmap_threshold = -1, -3  # numbers of malloc.h
    libc = ctypes.CDLL(None)
    for name, nbytes in ((mmap_threshold, 32 << 20), (trim_threshold, 1 << 30)):
        if libc.mallopt(name, nbytes) != 1:
            raise OSError(f"mallopt({name}, {nbytes}) was refused")


def _fields(step: int) -> Sample:
    return {name: np.full(SHAPE, step + i, np.float32) for i, name in enumerate(FIELDS)}


def _intake(
    client: Any, buffer: Fifo | Reservoir, producer: str = "bench", stream: str = DEFAULT_STREAM
) -> Intake:
    """Return the way from a client's stream to batches, of both fields of one snapshot, without judges."""
    cursor = SnapshotStream(client, (producer,), stream=stream)
    return Intake(cursor, Pairing(FIELDS[:1], FIELDS[1], 0), buffer, (), judges_needed=0, batch_size=BATCH)


def _memory(cores: Sequence[int], rounds: int) -> dict[str, Any]:
    """Compare batches of samples that are there, with nothing new to come."""
    os.sched_setaffinity(0, cores)  # there is no server
    samples = [{"u": one["u"], "v_next": one["v"]} for one in map(_fields, range(SAMPLES))]
    tensors = [{name: torch.from_numpy(field) for name, field in one.items()} for one in samples]
    endless = itertools.chain.from_iterable(
        DataLoader(tensors, BATCH, shuffle=True, num_workers=0)  # type: ignore[arg-type]
        for _ in itertools.count()
    )
    reference = Series("DataLoader", _checked(lambda: next(endless)), 20)
    loaders = {f"Loader, {ahead} ahead": _from_memory(samples, ahead) for ahead in AHEAD}
    stacked = Series("batch_of", lambda: batch_of(samples[:BATCH]), 20)
    try:
        series = [Series(name, _checked(loader.batch), 20) for name, loader in loaders.items()]
        return compare(reference, [stacked, *series], rounds=rounds)
    finally:
        for loader in loaders.values():
            loader.__exit__(None, None, None)


def _from_memory(samples: list[Sample], ahead: int) -> Loader:
    buffer = Reservoir(SAMPLES, seed=0)
    for sample in samples:
        buffer.add(sample)
    intake = _intake(MemoryClient(MemoryDatabase()), buffer)
    return Loader(intake, ahead=ahead).__enter__()


def _checked(batch: Callable[[], Batch | None]) -> Callable[[], Batch]:
    """Return the same, which looks whether each target is its sample's: one more than its input."""

    def operation() -> Batch:
        found = batch()
        if found is None or not bool((found["v_next"][:, -1, -1] == found["u"][:, 0, 0] + 1).all()):
            raise AssertionError("the batch is not what was put")
        return found

    return operation


def _fetch(server: RedisServer, clients: dict[str, NativeClient], rounds: int) -> dict[str, Any]:
    """Compare how long it takes to make batches of all snapshots that wait, each once."""
    python = redis.Redis(unix_socket_path=str(server.config.unix_socket))
    names = [[f"{field}{step}" for field in FIELDS] for step in range(BATCH * BATCHES)]
    for step, keys in enumerate(names):
        for key, field in zip(keys, _fields(step).values(), strict=True):
            python.set(key, memoryview(field).cast("B"))
    groups = [
        [key for field in range(2) for key in (keys[field] for keys in names[at : at + BATCH])]
        for at in range(0, len(names), BATCH)
    ]

    def mget() -> None:
        for group in groups:
            fields = [np.frombuffer(value, np.float32).reshape(SHAPE) for value in python.mget(group)]
            inputs, targets = np.stack(fields[:BATCH]), np.stack(fields[BATCH:])
            batch = {"u": torch.from_numpy(inputs), "v_next": torch.from_numpy(targets)}
            _checked(lambda batch=batch: batch)()  # type: ignore[misc]

    series = [
        Series(f"Loader, {name}, {ahead} ahead", _drained(client, ahead), requests=BATCHES)
        for name, client in clients.items()
        for ahead in AHEAD
    ]
    reference = Series("redis-py MGET", mget, requests=BATCHES)
    return compare(reference, series, server_pids=[server.pid], rounds=rounds)


def _drained(client: NativeClient, ahead: int) -> Callable[[], None]:
    def operation() -> None:
        with Loader(_intake(client, Fifo(4 * BATCH, seed=0)), ahead=ahead) as loader:
            batch = _checked(loader.batch)
            for _ in range(BATCHES):
                batch()

    return operation


class Network(torch.nn.Module):
    """Convolutions that take about a tenth of a second for a batch on one core."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(2, 1, 3, padding=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, nx, ny) to the same shape."""
        out: torch.Tensor = self.layers(x[:, None])
        return out[:, 0]


def _idles(
    server: RedisServer, clients: dict[str, NativeClient], core: int, seconds: float
) -> dict[str, Any]:
    return {
        "series": [
            _idle(server, client, name, ahead, core, seconds)
            for name, client in clients.items()
            for ahead in AHEAD
        ]
    }


def _idle(
    server: RedisServer, client: NativeClient, name: str, ahead: int, core: int, seconds: float
) -> dict[str, Any]:
    """Return what a training feels of its feeding, beside the same steps on one batch that is there."""
    stream = f"idle_{time.monotonic_ns()}"
    client.bound_stream(Bound(items=64, policy="drop_oldest"), stream)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters())
    with _solver(server, stream, core):
        intake = _intake(client, Reservoir(SAMPLES, watermark=BATCH, seed=0), stream, stream)
        with Loader(intake, ahead=ahead) as loader:
            batch = loader.batch()
            assert batch is not None
            alone = _steps(network, optimizer, lambda: batch, seconds / 3)[0]
            waited, read, start = loader.idle_s, intake.stream.cursor, time.perf_counter()
            steps = _steps(network, optimizer, _checked(loader.batch), seconds)[1]
            took = time.perf_counter() - start
            waited, read = loader.idle_s - waited, intake.stream.cursor - read
    return {
        "client": name,
        "ahead": ahead,
        "idle, %": 100 * waited / took,
        "ms a step": 1e3 * took / steps,
        "ms alone": 1e3 * alone,
        "snapshots a step": read / steps,
    }


def _steps(
    network: Network, optimizer: torch.optim.Optimizer, batch: Callable[[], Batch | None], seconds: float
) -> tuple[float, int]:
    """Make steps for so long; return the seconds of one, and how many they were."""
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        given = batch()
        assert given is not None
        optimizer.zero_grad()
        (network(given["u"]) - given["v_next"]).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
    return (time.perf_counter() - start) / steps, steps


@contextmanager
def _solver(server: RedisServer, name: str, core: int) -> Iterator[None]:
    """Have a solver of this name put into a stream of this name, on a core."""
    command = [sys.executable, str(SOLVER), server.address, name, name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment) as process:
        bind(process.pid, {core})
        try:
            yield
        finally:
            process.kill()
