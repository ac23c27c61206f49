"""Put and get of one array, 4 KB to 64 MB, between programs of one host: shared memory and its peers.

Copies are measured against memcpy between two arrays that are there already: what any copy costs at least. A
mapping copies nothing and is measured against a PING of the same client.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import redis
from smartredis import Client as SmartRedis

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from sim_clients.smartredis_environment import environment_for
from tests.bench.deployed import deployed
from tests.bench.measure import Series, compare, pinned, placements
from tests.bench.peers import Peer, there
from tests.bench.report import BYTES as SIZES
from tests.bench.wire import WireClient
from tests.integration.servers import Module, RedisServer, system_binary, wheel_binary

ARENA = ("ARENA", "1024")
QUICK = ("4 KB", "1 MB", "64 MB")
SECONDS_PER_SERIES = 0.05
SHARED_FROM = "PENSTOCK_SHARED_MEMORY"
IN_MEMORY = Path("/dev/shm")


@contextmanager
def client_of(server: RedisServer, shared_from: int) -> Iterator[NativeClient]:
    """Open a client whose arrays go through shared memory from that many bytes on; 0: never."""
    with mock.patch.dict(os.environ, {SHARED_FROM: str(shared_from)}):
        client = NativeClient(Address.parse(server.address), Identity("bench", 0))
    try:
        yield client
    finally:
        client.close()


class Subjects:
    """Everything under comparison, all with the same array."""

    def __init__(
        self, server: RedisServer, shared: NativeClient, plain: NativeClient, size: int, directory: Path
    ) -> None:
        self.array = np.random.default_rng(0).random(size // 4, dtype=np.float32)
        self.place = np.zeros_like(self.array)
        self.repeat = max(1, min(200, int(SECONDS_PER_SERIES * 1e9 / (size + 100_000))))
        self._native, self._plain = shared, plain
        self._python = redis.Redis(unix_socket_path=str(server.config.unix_socket))
        self._wire = WireClient(server.config.unix_socket)
        with environment_for(Address.parse(server.address)):
            self._smart = SmartRedis(None, logger_name="bench")
        self._file = directory / "array.npy"
        self._segment = SharedMemory(create=True, size=size)
        self._shared = np.ndarray(self.array.shape, self.array.dtype, buffer=self._segment.buf)

    def memcpy(self) -> Series:
        """Return the limit of every copy."""
        return self._each("memcpy", lambda: np.copyto(self.place, self.array))

    def puts(self) -> list[Series]:
        """Return the series that put the array again and again."""
        view = memoryview(self.array).cast("B")
        return [
            self._each("NativeClient", lambda: self._native.put_tensor("native", self.array)),
            self._each("NativeClient, in place", self._put_in_place),
            self._each("NativeClient, socket", lambda: self._plain.put_tensor("plain", self.array)),
            self._each("SmartRedis", lambda: self._smart.put_tensor("smart", self.array)),
            self._each("redis-py set", lambda: self._python.set("python", view)),
            self._each("np.save, /dev/shm", lambda: np.save(self._file, self.array)),
            self._each("shared_memory, one segment", lambda: np.copyto(self._shared, self.array)),
        ]

    def _put_in_place(self) -> None:
        """Put a field that was made in the arena: what is left of a put when the solver computes there."""
        self._native.put_tensor("in_place", self._native.new_field(self.array.shape, self.array.dtype))

    def gets(self) -> list[Series]:
        """Return the series that copy the array out, each of them checked."""
        for one in self.puts():
            one.operation()
        self._check("NativeClient, into", lambda: self._native.get_tensor_into("native", self.place))
        ways: dict[str, Callable[[], Any]] = {
            "NativeClient": lambda: self._native.get_tensor("native"),
            "NativeClient, socket": lambda: self._plain.get_tensor("plain"),
            "SmartRedis": lambda: self._smart.get_tensor("smart"),
            "redis-py get": lambda: np.frombuffer(self._python.get("python"), np.float32),
            "np.load, /dev/shm": lambda: np.load(self._file),
            "shared_memory, one segment": lambda: self._shared,
        }
        for name, way in ways.items():
            self._check(name, lambda way=way: np.copyto(self.place, way()))  # type: ignore[misc]
        ways["shared_memory, one segment"] = lambda: np.copyto(self.place, self._shared)
        return [
            self._each("NativeClient, into", lambda: self._native.get_tensor_into("native", self.place)),
            *(self._each(name, way) for name, way in ways.items()),
        ]

    def mappings(self) -> tuple[Series, list[Series]]:
        """Return an empty round trip and the ways to read the array where it is."""
        self._native.put_tensor("native", self.array)
        np.save(self._file, self.array)
        self._check("map_tensor", lambda: np.copyto(self.place, self._native.map_tensor("native")))
        return Series("PING", lambda: self._wire.call(b"PING"), self.repeat), [
            self._each("NativeClient, map_tensor", lambda: self._native.map_tensor("native")),
            self._each("np.load, mapped", lambda: np.load(self._file, mmap_mode="r")),
        ]

    def _each(self, name: str, operation: Callable[[], object]) -> Series:
        return Series(name, operation, self.repeat)

    def _check(self, name: str, operation: Callable[[], object]) -> None:
        self.place[:] = 0
        operation()
        if not np.array_equal(self.place, self.array):
            raise AssertionError(f"{name}: the bytes that came back are not those that were to come")

    def close(self) -> None:
        """Leave."""
        self._python.close()
        self._wire.close()
        self._shared = self.array
        self._segment.close()
        self._segment.unlink()


def run(quick: bool) -> dict[str, Any]:
    """Measure, with the peers that are installed."""
    build = built_module(print)
    module = Module(build.module, (*build.load_arguments(), *ARENA))
    binary = system_binary() or wheel_binary()
    report: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(binary, Path(directory), (module,))) as server,
        client_of(server, 1) as shared,
        client_of(server, 0) as plain,
    ):
        for label in QUICK if quick else SIZES:
            report[label] = _of_size(server, (shared, plain), SIZES[label], 3 if quick else 9)
    return report


def _of_size(
    server: RedisServer, clients: tuple[NativeClient, NativeClient], size: int, rounds: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=IN_MEMORY, prefix="penstock-bench-") as name, ExitStack() as stack:
        peers = [stack.enter_context(Peer(kind, size, Path(name))) for kind in there()]
        for peer in peers:
            peer.ask("put", 1)
            peer.check()
        for placement, (client_core, server_core) in placements().items():
            subjects = Subjects(server, *clients, size, Path(name))
            for peer in peers:
                peer.bind(client_core, server_core)
            with pinned(client_core, server_core, [server.pid]):
                found.update(_measured(subjects, peers, placement, [server.pid], rounds))
            subjects.close()
    return found


def _measured(
    subjects: Subjects, peers: Sequence[Peer], placement: str, pids: list[int], rounds: int
) -> dict[str, Any]:
    few = max(1, subjects.repeat // 20)  # some of them take milliseconds for a byte
    puts = [peer.series("put", few) for peer in peers if peer.kind != "sst"]
    gets = [peer.series("get", few) for peer in peers]
    memcpy = subjects.memcpy()
    found = {
        f"put, {placement}": compare(memcpy, [*subjects.puts(), *puts], server_pids=pids, rounds=rounds),
        f"get, {placement}": compare(memcpy, [*subjects.gets(), *gets], server_pids=pids, rounds=rounds),
    }
    ping, mappings = subjects.mappings()
    found[f"map, {placement}"] = compare(ping, mappings, server_pids=pids, rounds=rounds)
    return found
