"""Memory of the server beside the bytes of the tensors that live in it, while others take their places.

Sizes are 4 KB to 8 MB, their logarithm evenly spread. Two keys at a time are put anew, each with the size of
the other, so that the bytes that live stay the same. What is counted is the server's own memory (RssAnon) and
what its arena has taken from the system, less what the empty server had.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import redis
from smartredis import Client as SmartRedis

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.smartredis_environment import environment_for
from tests.bench.bench_shared import ARENA, client_of
from tests.bench.deployed import deployed
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ServerConfig,
    system_binary,
    wheel_binary,
)

SMALLEST, LARGEST = 4 << 10, 8 << 20
LIVE = 512 << 20
QUICK_LIVE = 64 << 20
TIMES_OVER = 4
"""How often the live bytes are replaced."""
SAMPLES = 50
ARENA_FILE = "/memfd:penstock-arena"

Put = Callable[[str, np.ndarray], object]


@dataclass(frozen=True)
class Row:
    """What one way of putting needed; `most` and `at the end` are ratios to the live bytes."""

    series: str
    live_mb: float
    most: float
    last: float
    left_mb: float


def run(quick: bool) -> dict[str, Any]:
    """Measure each way to put tensors on a server of its own."""
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments()))
    binaries = [binary for binary in (system_binary(), wheel_binary()) if binary is not None]
    live = QUICK_LIVE if quick else LIVE
    return {
        binary.name: {"series": [asdict(row) for row in _rows(binary, module, live)]}
        for binary in (binaries[:1] if quick else binaries)
    }


def _rows(binary: ServerBinary, module: Module, live: int) -> Iterator[Row]:
    ours, sharing = (module,), (module.with_arguments(*ARENA),)
    ways: dict[str, tuple[tuple[Module, ...], Callable[[RedisServer, ExitStack], Put]]] = {
        "NativeClient, shared memory": (sharing, lambda server, stack: _native(server, stack, 1)),
        "NativeClient, socket": (ours, lambda server, stack: _native(server, stack, 0)),
        "SmartRedis": (ours, _smartredis),
        "SET by redis-py": (ours, _plain),
    }
    for name, (modules, opened) in ways.items():
        yield _measured(name, binary, modules, opened, live)
    yield _measured("SET by redis-py, a plain redis-server", binary, (), _plain, live)


def _native(server: RedisServer, stack: ExitStack, shared_from: int) -> Put:
    return stack.enter_context(client_of(server, shared_from)).put_tensor


def _smartredis(server: RedisServer, stack: ExitStack) -> Put:
    with environment_for(Address.parse(server.address)):
        return SmartRedis(None, logger_name="bench").put_tensor  # type: ignore[no-any-return]


def _plain(server: RedisServer, stack: ExitStack) -> Put:
    client = stack.enter_context(redis.Redis(unix_socket_path=str(server.config.unix_socket)))
    return lambda key, array: client.set(key, memoryview(array))


def _measured(
    name: str,
    binary: ServerBinary,
    modules: tuple[Module, ...],
    opened: Callable[[RedisServer, ExitStack], Put],
    live: int,
) -> Row:
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        directory = Path(text)
        config = deployed(binary, directory, modules) if modules else ServerConfig(binary, directory)
        server = stack.enter_context(RedisServer(config))
        put, connection = opened(server, stack), server.connect()
        put("warm", np.zeros(LARGEST, np.uint8))
        connection.delete("warm")
        empty = _taken(server.pid)
        ratios, bytes_alive = _replaced(put, server.pid, empty, live)
        connection.flushall()
        return Row(name, bytes_alive / 1e6, max(ratios), ratios[-1], (_taken(server.pid) - empty) / 1e6)


def _replaced(put: Put, pid: int, empty: int, live: int) -> tuple[list[float], int]:
    """Fill the server, then have keys exchange sizes; return the ratios on the way and the bytes alive."""
    random = np.random.default_rng(0)
    source = random.integers(0, 256, LARGEST, np.uint8)
    sizes: list[int] = []
    while sum(sizes) < live:
        sizes.append(int(np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST)))))
        put(f"key{len(sizes) - 1}", source[: sizes[-1]])
    ratios = []
    for _ in range(SAMPLES):
        written = 0
        while written < live * TIMES_OVER / SAMPLES:
            one, other = random.integers(len(sizes), size=2)
            sizes[one], sizes[other] = sizes[other], sizes[one]
            for number in sorted((one, other), key=lambda number: sizes[number]):
                put(f"key{number}", source[: sizes[number]])
                written += sizes[number]
        ratios.append((_taken(pid) - empty) / sum(sizes))
    return ratios, sum(sizes)


def _taken(pid: int) -> int:
    """Return the bytes that a server has of its own, and those of its arena."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = int(status.partition("RssAnon:")[2].split()[0]) * 1024
    arenas = {
        (found.st_dev, found.st_ino): found.st_blocks * 512
        for each in Path(f"/proc/{pid}/fd").iterdir()
        if str(each.readlink()).startswith(ARENA_FILE)
        for found in [each.stat()]
    }
    return own + sum(arenas.values())
