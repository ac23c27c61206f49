"""Put and get of one array, 4 KB to 64 MB, over a Unix socket: the clients against a raw socket.

The reference is a C program that sends the same bytes over a socket to another and waits for its answer: what
a client could do at best. SET and GET by the leanest C client show what Redis costs.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from smartredis import Client as SmartRedis

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_arrays import c_array
from sim_clients.native_client import NativeClient
from sim_clients.native_library import FLAGS, SOURCE
from sim_clients.smartredis_environment import environment_for
from tests.bench.deployed import deployed
from tests.bench.measure import Series, compare, pinned, placements
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    system_binary,
    wheel_binary,
)

SIZES = {"4 KB": 4 << 10, "256 KB": 256 << 10, "4 MB": 4 << 20, "64 MB": 64 << 20}
SECONDS_PER_SERIES = 0.08


def compiled(directory: Path) -> ctypes.CDLL:
    """Compile the raw programs with libpenstock beside them."""
    library = directory / "raw.so"
    sources = [Path(__file__).with_name("raw.c"), *sorted(SOURCE.glob("*.c"))]
    command = ["cc", *FLAGS, f"-I{SOURCE}", *map(str, sources), "-o", str(library), "-lm"]
    subprocess.run([part for part in command if part != "-fvisibility=hidden"], check=True)
    return ctypes.CDLL(str(library))


class RawServer:
    """A forked process at the other end of a socket pair, which ends with it."""

    def __init__(self, raw: ctypes.CDLL, largest: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            memory = (ctypes.c_char * largest)()
            ctypes.memset(memory, 1, largest)
            raw.raw_serve(theirs.fileno(), memory)
            os._exit(0)
        theirs.close()
        self.socket = ours

    def close(self) -> None:
        """Leave, and see it end."""
        self.socket.close()
        os.waitpid(self.pid, 0)


class Subjects:
    """The clients under comparison, all on one server, all with the same array."""

    def __init__(self, raw: ctypes.CDLL, limit: RawServer, server: RedisServer, size: int) -> None:
        self.array = np.random.default_rng(0).random(size // 4, dtype=np.float32)
        self.place = np.zeros_like(self.array)
        self.repeat = max(1, min(400, int(SECONDS_PER_SERIES * 1e9 / (size + 50_000))))
        self._raw, self._limit, self._wire = raw, limit.socket.fileno(), server.raw_socket()
        self._wire.setblocking(True)  # its time-out would have made it return at once
        address = Address.parse(server.address)
        self._python = NativeClient(address, Identity("bench", 0))
        self._c = ctypes.c_void_p()
        self._call("penstock_connect", str(address).encode(), ctypes.c_double(5), ctypes.byref(self._c))
        with environment_for(address):
            self._smart = SmartRedis(None, logger_name="bench")

    def puts(self) -> tuple[Series, list[Series]]:
        """Return the raw socket and the series that overwrite one key."""
        array = c_array(self.array)
        return self._bulk("raw socket", "raw_put", self._limit, self.array), [
            self._bulk("SET, C", "raw_set", self._wire.fileno(), self.array),
            self._loop("libpenstock", "native_put", array),
            self._each("NativeClient", lambda: self._python.put_tensor("native", self.array)),
            self._each("SmartRedis", lambda: self._smart.put_tensor("smart", self.array)),
        ]

    def gets(self) -> tuple[Series, list[Series]]:
        """Return the raw socket and the series that read what `puts` has stored, each checked once."""
        reference, series = self.puts()
        for one in (reference, *series):
            one.operation()
        self._check(
            "GET, C", lambda: self._call("raw_get_plain", self._wire.fileno(), *self._data(self.place), 1)
        )
        self._check(
            "libpenstock", lambda: self._call("native_get", self._c, ctypes.byref(c_array(self.place)), 1)
        )
        for name, client in (("NativeClient", self._python), ("SmartRedis", self._smart)):
            key = "native" if client is self._python else "smart"
            self._check(name, lambda client=client, key=key: np.copyto(self.place, client.get_tensor(key)))
        return self._bulk("raw socket", "raw_get", self._limit, self.place), [
            self._bulk("GET, C", "raw_get_plain", self._wire.fileno(), self.place),
            self._loop("libpenstock", "native_get", c_array(self.place)),
            self._each("NativeClient", lambda: self._python.get_tensor("native")),
            self._each("NativeClient, into", lambda: self._python.get_tensor_into("native", self.place)),
            self._each("SmartRedis", lambda: self._smart.get_tensor("smart")),
        ]

    def _data(self, array: np.ndarray) -> tuple[ctypes.c_void_p, ctypes.c_uint64]:
        return ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(array.nbytes)

    def _bulk(self, name: str, function: str, fd: int, array: np.ndarray) -> Series:
        data, n = self._data(array), self.repeat
        return Series(name, lambda: self._call(function, fd, *data, n), requests=n)

    def _loop(self, name: str, function: str, array: Any) -> Series:
        n = self.repeat
        return Series(name, lambda: self._call(function, self._c, ctypes.byref(array), n), requests=n)

    def _each(self, name: str, operation: Callable[[], object]) -> Series:
        return Series(name, operation, self.repeat)

    def _check(self, name: str, operation: Callable[[], object]) -> None:
        self.place[:] = 0
        operation()
        if not np.array_equal(self.place, self.array):
            raise AssertionError(f"{name}: the bytes that came back are not those that were to come")

    def _call(self, function: str, *arguments: Any) -> None:
        if getattr(self._raw, function)(*arguments):
            raise AssertionError(f"{function} failed")

    def close(self) -> None:
        """Leave the server."""
        self._wire.close()
        self._python.close()
        self._raw.penstock_close(self._c)


def run(quick: bool) -> dict[str, Any]:
    """Measure on both servers, pinned to one core and to two."""
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments()))
    binaries = [binary for binary in (system_binary(), wheel_binary()) if binary is not None]
    with tempfile.TemporaryDirectory() as directory:
        raw = compiled(Path(directory))
        return {one.name: _on(raw, one, module, quick) for one in (binaries[:1] if quick else binaries)}


def _on(raw: ctypes.CDLL, binary: ServerBinary, module: Module, quick: bool) -> dict[str, Any]:
    report: dict[str, Any] = {}
    limit = RawServer(raw, max(SIZES.values()))
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(binary, Path(directory), (module,))) as server,
    ):
        for label, size in SIZES.items():
            report[label] = _of_size(raw, limit, server, size, 3 if quick else 9)
    limit.close()
    return report


def _of_size(
    raw: ctypes.CDLL, limit: RawServer, server: RedisServer, size: int, rounds: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for placement, (client_core, server_core) in placements().items():
        subjects = Subjects(raw, limit, server, size)
        with pinned(client_core, server_core, [server.pid, limit.pid]):
            for direction, (reference, series) in {"put": subjects.puts(), "get": subjects.gets()}.items():
                pids = [server.pid, limit.pid]
                found[f"{direction}, {placement}"] = compare(
                    reference, series, server_pids=pids, rounds=rounds
                )
        subjects.close()
    return found
