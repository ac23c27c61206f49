"""Put and get of one tensor, 4 KB to 64 MB, over a Unix socket: our module against plain SET and GET.

The reference is SET (or GET) of the same bytes by the leanest client; `AI.*` by the same client shows what
the module costs, SmartRedis and redis-py what their users pay.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import redis
from smartredis import Client

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.smartredis_environment import environment_for
from tests.bench.deployed import deployed
from tests.bench.measure import Checked, Series, compare, pinned, placements
from tests.bench.wire import WireClient
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    system_binary,
    wheel_binary,
)

SIZES = {"4 KB": 4 << 10, "256 KB": 256 << 10, "4 MB": 4 << 20, "64 MB": 64 << 20}
SECONDS_PER_SERIES = 0.08
FRESH_KEYS = 8


class Subjects:
    """The clients under comparison, all on one server, all with the same array."""

    def __init__(self, server: RedisServer, size: int) -> None:
        self.array = np.random.default_rng(0).random(size // 4, dtype=np.float32)
        self.bytes = self.array.tobytes()
        self._view = memoryview(self.array).cast("B")
        self._shape = str(self.array.size).encode()
        self._wire = WireClient(server.config.unix_socket)
        self._python = redis.Redis(unix_socket_path=str(server.config.unix_socket))
        with environment_for(Address.parse(server.address)):
            self._smart = Client(None, logger_name="bench")
        self.repeat = max(1, min(200, int(SECONDS_PER_SERIES * 1e9 / (size + 50_000))))
        self._fresh = 0

    def puts(self) -> tuple[Series, list[Series]]:
        """Return the reference and the series that overwrite one key."""
        wire, n = self._wire, self.repeat
        tensor = (b"AI.TENSORSET", b"module", b"FLOAT", self._shape, b"BLOB", self._view)
        return Series("SET", lambda: wire.call(b"SET", b"plain", self._view), n), [
            Series("AI.TENSORSET", lambda: wire.call(*tensor), n),
            Series("AI.TENSORSET, fresh keys", self._put_fresh, n),
            Series("SmartRedis put_tensor", lambda: self._smart.put_tensor("smart", self.array), n),
            Series("redis-py set", lambda: self._python.set("python", self._view), n),
        ]

    def gets(self) -> tuple[Series, list[Series]]:
        """Return the reference and the series that read what `puts` has stored."""
        wire, n = self._wire, self.repeat
        for one in (self.puts()[0], *self.puts()[1]):
            one.operation()
        tensor = Checked(lambda: wire.call(b"AI.TENSORGET", b"module", b"BLOB"), self.bytes)
        smart = Checked(lambda: self._smart.get_tensor("smart"), self.bytes)
        return Series("GET", Checked(lambda: wire.call(b"GET", b"plain"), self.bytes), n), [
            Series("AI.TENSORGET BLOB", tensor, n),
            Series("SmartRedis get_tensor", smart, n),
            Series("redis-py get", Checked(lambda: self._python.get("python"), self.bytes), n),
        ]

    def _put_fresh(self) -> None:
        """Delete and set, so that the key is new each time; a few names in turn."""
        self._fresh = (self._fresh + 1) % FRESH_KEYS
        key = b"fresh%d" % self._fresh
        self._wire.call(b"UNLINK", key)
        self._wire.call(b"AI.TENSORSET", key, b"FLOAT", self._shape, b"BLOB", self._view)

    def close(self) -> None:
        """Leave the server."""
        self._wire.call(b"FLUSHALL")
        self._wire.close()
        self._python.close()


def run(quick: bool) -> dict[str, Any]:
    """Measure on both servers, pinned to one core and to two."""
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments()))
    binaries = [binary for binary in (system_binary(), wheel_binary()) if binary is not None]
    return {binary.name: _on(binary, module, quick) for binary in (binaries[:1] if quick else binaries)}


def _on(binary: ServerBinary, module: Module, quick: bool) -> dict[str, Any]:
    report: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer(deployed(binary, Path(directory), (module,))) as server,
    ):
        for label, size in SIZES.items():
            report[label] = _of_size(server, size, 3 if quick else 9)
    return report


def _of_size(server: RedisServer, size: int, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for placement, (client_core, server_core) in placements().items():
        subjects = Subjects(server, size)
        with pinned(client_core, server_core, [server.pid]):
            for direction, (reference, series) in {"put": subjects.puts(), "get": subjects.gets()}.items():
                found[f"{direction}, {placement}"] = compare(
                    reference, series, server_pids=[server.pid], rounds=rounds
                )
        subjects.close()
    return found
