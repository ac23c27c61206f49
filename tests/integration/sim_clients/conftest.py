"""Databases for the client tests: one server on a Unix socket, and a cluster of three shards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim_clients import Address
from sim_clients.native_library import built_library
from tests.client_contract import Networks
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ServerConfig,
    ShardCluster,
    free_port,
    shard_configs,
)
from tests.integration.torchscript import torchscript


@pytest.fixture(scope="session")
def shared_cluster(
    server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[ShardCluster]:
    """Three shards, started once."""
    directory = Path(tempfile.mkdtemp(dir=short_directory))
    with ShardCluster(shard_configs(server_binary, directory, (module,), 3)) as cluster:
        yield cluster


@pytest.fixture
def cluster_address(shared_cluster: ShardCluster) -> Address:
    """The cluster, empty."""
    for shard in shared_cluster.shards:
        with shard.connect() as connection:
            connection.flushall()
    return Address.parse(shared_cluster.address, clustered=True)


@pytest.fixture(scope="session")
def native_library() -> Path:
    """libpenstock, compiled once."""
    return built_library()


@pytest.fixture(scope="session")
def tcp_server(server_binary: ServerBinary, module: Module, short_directory: Path) -> Iterator[RedisServer]:
    """One server on a port, started once."""
    directory = Path(tempfile.mkdtemp(dir=short_directory))
    with RedisServer(ServerConfig(server_binary, directory, (module,), port=free_port())) as server:
        yield server


@pytest.fixture(scope="session")
def sharing_server(
    server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[RedisServer]:
    """One server that shares memory, started once."""
    directory = Path(tempfile.mkdtemp(dir=short_directory))
    config = ServerConfig(server_binary, directory, (module.with_arguments("ARENA", "64"),))
    with RedisServer(config) as server:
        yield server


@pytest.fixture(scope="session")
def sharing_cluster(
    server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[ShardCluster]:
    """Three shards that share memory, started once."""
    directory = Path(tempfile.mkdtemp(dir=short_directory))
    sharing = module.with_arguments("ARENA", "16")
    with ShardCluster(shard_configs(server_binary, directory, (sharing,), 3)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def networks() -> Networks:
    return Networks(
        doubles=torchscript("def forward(self, x):\n    return 2 * x\n"),
        triples=torchscript("def forward(self, x):\n    return 3 * x\n"),
        doubles_and_triples=torchscript("def forward(self, x):\n    return 2 * x, 3 * x\n"),
        multiplies_matrices=torchscript("def forward(self, x, y):\n    return torch.matmul(x, y)\n"),
    )
