"""Batches out of shared memory: what a sample takes there, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sim_clients import Address, Bound
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from sim_clients.native_library import built_library
from sim_clients.native_memory import Memory
from sim_clients.native_views import is_mapped
from tests.integration.module.arena_client import arena
from tests.integration.servers import RedisServer, StartServer
from trainers import Fifo, Firo, Pairs, Reservoir, loader
from trainers.batches import Batch, batch_of
from trainers.intake import Intake
from trainers.loader import Loader
from trainers.pairing import Pairing
from trainers.samples import Sample
from trainers.stream import SnapshotStream

SHAPE = (256, 512)
"""A float64 array of 1 MB."""
ARENA_MB = 4
BATCH = 4

BUFFERS: dict[str, Callable[[], Any]] = {
    "fifo": lambda: Fifo(12, seed=0),
    "fifo that waits": lambda: Fifo(12, watermark=10, seed=0),
    "firo": lambda: Firo(12, watermark=6, seed=0),
    "reservoir": lambda: Reservoir(12, watermark=6, seed=0),
    "pairs": lambda: Pairs(["u"], "u", [1], snapshots=12, watermark=6, seed=0),
}
OpenNative = Callable[[str], NativeClient]


@pytest.fixture(scope="module")
def native_library() -> Path:
    """libpenstock, compiled once."""
    return built_library()


@pytest.fixture
def server(start_server: StartServer, native_library: Path) -> RedisServer:
    return start_server(arguments=("ARENA", str(ARENA_MB)))


@pytest.fixture
def open_native(server: RedisServer) -> Iterator[OpenNative]:
    """Open native clients, which are closed after the test."""
    clients: list[NativeClient] = []

    def open_client(producer: str) -> NativeClient:
        clients.append(NativeClient(Address.parse(server.address), Identity(producer, 0), timeout_s=5.0))
        return clients[-1]

    yield open_client
    for client in clients:
        client.close()


def intake_of(client: NativeClient, buffer: Any, jump: int) -> Intake:
    stream = SnapshotStream(client, ("heat", "held"), consumer="net")
    stream.subscribe()
    pairing = Pairing(["u"], "u", jump)
    return Intake(stream, pairing, buffer, ("held",), judges_needed=1, batch_size=BATCH)


def put(client: NativeClient, step: int) -> None:
    u = client.new_field(SHAPE)
    u[...] = step
    client.put_snapshot(step, {"u": u})


@pytest.mark.parametrize(
    ("name", "jump"), [(name, jump) for name in BUFFERS for jump in (0, 1) if jump or name != "pairs"]
)
def test_samples_that_wait_take_no_room_where_solvers_compute(
    server: RedisServer, open_native: OpenNative, name: str, jump: int
) -> None:
    """In an arena of 4 MB a solver puts 12 MB, of which none is given up before it is learned from."""
    clients = solver, held, reader = [open_native(name) for name in ("heat", "held", "trainer")]
    solver.bound_stream(Bound(items=3))
    intake = intake_of(reader, BUFFERS[name](), jump)
    for step in range(2):
        put(held, step)
    learned: list[float] = []
    with Loader(intake, ahead=0) as feed, server.connect() as db:
        for step in range(12):
            put(solver, step)
            batch = feed.batch(unless=lambda: True)
            intake.stream.acknowledge()
            feed.pressed = False
            if batch is not None:
                assert (batch["u_next"][:, 0, 0] == batch["u"][:, -1, -1] + jump).all()
                learned += batch["u"][:, 0, 0].tolist()
            for client in clients:  # what has ended is told with a command
                client.announced()
            assert arena(db)["pinned"] == 0
        solver.end_stream()
        held.end_stream()
        while name.startswith("fi") and (batch := feed.batch()) is not None:
            learned += batch["u"][:, 0, 0].tolist()
    if name.startswith("fi"):
        assert sorted(learned) == list(range(12 - jump))
    assert ((intake.judges[0]["u"] == 0).all() and not is_mapped(intake.judges[0]["u"])) or jump


def test_a_sample_that_is_drawn_as_it_comes_goes_into_its_batch_from_where_it_lies(
    open_native: OpenNative, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = open_native("heat")
    for step in range(2):
        put(solver, step)
    lay_there: list[bool] = []

    def stacked(samples: list[Sample], memory: Memory | None = None) -> Batch:
        lay_there.extend(is_mapped(array) for sample in samples for array in sample.values())
        return batch_of(samples, memory)

    monkeypatch.setattr(loader, "batch_of", stacked)
    intake = intake_of(solver, Fifo(2, seed=0), 0)
    intake.judges_needed = 0
    with Loader(intake, ahead=0) as feed:
        batch = feed.batch()
    assert batch is not None and batch["u"][:, 0, 0].tolist() == [0, 1]
    assert lay_there == [True] * 4
