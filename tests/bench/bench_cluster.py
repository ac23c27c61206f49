"""What a cluster of three shards on this host costs against one server, both by TCP.

Small tensors by one client (the CPU of both sides counts, as three servers share two cores), and inference
with 4 MB in and 4 MB out, which goes to one shard in one round trip.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrator.build import built_module
from sim_clients import Address
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from tests.bench.deployed import deployed
from tests.bench.measure import Series, compare, pinned, placements
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ServerConfig,
    ShardCluster,
    free_ports,
    shard_configs,
    system_binary,
    wheel_binary,
)

SHARDS = 3
SMALL = 4 << 10
LARGE = 4 << 20
KEYS = 64


def doubling() -> bytes:
    """Return a network that does next to nothing: x -> 2 x."""

    class Doubling(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Doubling()), file)
    return file.getvalue()


class Subject:
    """One client of one deployment."""

    def __init__(self, name: str, address: Address, pids: Sequence[int]) -> None:
        self.name, self.pids = name, list(pids)
        self._client = NativeClient(address, Identity("bench", 0))
        self._client.put_model("double", doubling(), 1)
        self._small = np.zeros(SMALL // 4, np.float32)
        self._large = np.random.default_rng(0).random((64, LARGE // 256), dtype=np.float32)
        if not np.array_equal(self._client.infer("double", self._large), 2 * self._large):
            raise AssertionError(f"{name}: the network's answer is wrong")
        self.put()

    def put(self) -> None:
        """Put tensors under many keys, which lie in all shards."""
        for key in range(KEYS):
            self._client.put_tensor(f"t{key}", self._small)

    def get(self) -> None:
        """Get them."""
        for key in range(KEYS):
            self._client.get_tensor_into(f"t{key}", self._small)

    def infer(self) -> None:
        """Run the network."""
        self._client.infer("double", self._large)

    def close(self) -> None:
        """Leave."""
        self._client.close()


def run(quick: bool) -> dict[str, Any]:
    """Measure, the client on one core and all servers on another or the same."""
    with subjects() as (single, cluster):
        return _measured(single, cluster, 3 if quick else 9)


@contextmanager
def subjects() -> Iterator[tuple[Subject, Subject]]:
    """Yield a client of one server and one of three shards, which live as long as the block."""
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments()))
    binary = system_binary() or wheel_binary()
    port = free_ports("127.0.0.1", 1, with_bus=False)[0]
    with (
        tempfile.TemporaryDirectory() as name,
        RedisServer(deployed(binary, Path(name, "one"), (module,), port)) as one,
        ShardCluster(_shards(binary, Path(name), module)) as three,
    ):
        single = Subject("one server", Address.parse(f"127.0.0.1:{port}"), [one.pid])
        pids = [shard.pid for shard in three.shards]
        cluster = Subject("three shards", Address.parse(three.address, clustered=True), pids)
        with closing(single), closing(cluster):
            yield single, cluster


def _shards(binary: ServerBinary, directory: Path, module: Module) -> list[ServerConfig]:
    """Return shards with the settings that the one server has, too."""
    settings = deployed(binary, directory, ())
    shards = shard_configs(binary, directory, (module,), SHARDS, settings.options)
    return [replace(shard, environment=settings.environment) for shard in shards]


def _measured(single: Subject, cluster: Subject, rounds: int) -> dict[str, Any]:
    report: dict[str, Any] = {}
    pids = single.pids + cluster.pids
    parts = (
        ("put 4 KB", "put", KEYS, 4),
        ("get 4 KB", "get", KEYS, 4),
        ("infer, 4 MB in and out", "infer", 1, 10),
    )
    for placement, (client_core, server_core) in placements().items():
        with pinned(client_core, server_core, pids):
            for label, operation, requests, repeat in parts:
                series = [
                    Series(each.name, getattr(each, operation), repeat, requests=requests)
                    for each in (single, cluster)
                ]
                report[f"{label}, {placement}"] = compare(
                    series[0], series[1:], server_pids=pids, rounds=rounds
                )
    return report
