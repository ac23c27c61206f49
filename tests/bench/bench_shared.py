"""Put and get of one array, 4 KB to 64 MB, through shared memory and through the socket, against memcpy.

The reference is one copy of the array in this process. An empty command says what a round trip costs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from tests.bench.deployed import deployed
from tests.bench.measure import Series, compare, pinned, placements
from tests.integration.servers import Module, RedisServer, system_binary, wheel_binary

SIZES = {
    "4 KB": 4 << 10,
    "32 KB": 32 << 10,
    "256 KB": 256 << 10,
    "1 MB": 1 << 20,
    "4 MB": 4 << 20,
    "64 MB": 64 << 20,
}
ARENA_MB = 1024
SECONDS_PER_SERIES = 0.08
SHARED_FROM = "PENSTOCK_SHARED_MEMORY"


@contextmanager
def client_of(server: RedisServer, shared_from: int) -> Iterator[NativeClient]:
    """Open a client whose arrays go through shared memory from that size on; 0: never."""
    before = os.environ.get(SHARED_FROM)
    os.environ[SHARED_FROM] = str(shared_from)
    try:
        client = NativeClient(Address.parse(server.address), Identity("bench", 0))
    finally:
        del os.environ[SHARED_FROM]
        if before is not None:
            os.environ[SHARED_FROM] = before
    try:
        yield client
    finally:
        client.close()


def subjects(shared: NativeClient, plain: NativeClient, size: int) -> tuple[Series, list[Series]]:
    """Return memcpy and what is compared with it."""
    array = np.random.default_rng(0).random(size // 8)
    place = np.empty_like(array)
    repeat = max(3, min(400, int(SECONDS_PER_SERIES * 1e9 / (size + 50_000))))

    def in_place() -> None:
        shared.put_tensor("in_place", shared.new_field(array.shape))

    def each(name: str, operation: Callable[[], object]) -> Series:
        return Series(name, operation, repeat)

    shared.put_tensor("shared", array)
    plain.put_tensor("plain", array)
    return each("memcpy", lambda: np.copyto(place, array)), [
        each("empty command", lambda: shared.flag_raised("none")),
        each("put, socket", lambda: plain.put_tensor("plain", array)),
        each("put", lambda: shared.put_tensor("shared", array)),
        each("put, in place", in_place),
        each("get into, socket", lambda: plain.get_tensor_into("plain", place)),
        each("get into", lambda: shared.get_tensor_into("shared", place)),
        each("get, socket", lambda: plain.get_tensor("plain")),
        each("get", lambda: shared.get_tensor("shared")),
        each("map", lambda: shared.map_tensor("shared")),
    ]


def run(quick: bool) -> dict[str, Any]:
    """Measure on one server, pinned to one core with its client and to two."""
    build = built_module(print)
    module = Module(build.module, (*build.load_arguments(), "ARENA", str(ARENA_MB)))
    report: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(system_binary() or wheel_binary(), Path(directory), (module,))) as server,
        client_of(server, 1) as shared,
        client_of(server, 0) as plain,
    ):
        for label, size in SIZES.items():
            for placement, cores in placements().items():
                reference, series = subjects(shared, plain, size)
                with pinned(*cores, [server.pid]):
                    report[f"{label}, {placement}"] = compare(
                        reference, series, server_pids=[server.pid], rounds=3 if quick else 9
                    )
    return report
