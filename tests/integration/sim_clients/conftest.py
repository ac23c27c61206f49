"""Databases for the client tests: one server on a Unix socket, and a cluster of three shards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim_clients import Address
from tests.client_contract import Networks
from tests.integration.servers import Module, ServerBinary, ShardCluster, shard_configs
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
def networks() -> Networks:
    return Networks(
        doubles=torchscript("def forward(self, x):\n    return 2 * x\n"),
        triples=torchscript("def forward(self, x):\n    return 3 * x\n"),
        multiplies_matrices=torchscript("def forward(self, x, y):\n    return torch.matmul(x, y)\n"),
    )
