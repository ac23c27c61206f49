"""Real SmartRedis clients against one server by TCP or Unix socket, and against a cluster of three shards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from smartredis import Client

from sim_clients.address import Address
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ServerConfig,
    ShardCluster,
    free_port,
    shard_configs,
)


@dataclass(frozen=True)
class Deployment:
    """A running database and a plain connection to each of its shards."""

    address: Address
    shards: tuple[RedisServer, ...]
    connections: tuple[redis.Redis, ...]

    @property
    def shard_addresses(self) -> list[str]:
        """What the admin calls of SmartRedis take."""
        return [shard.address for shard in self.shards]

    def flush(self) -> None:
        for connection in self.connections:
            connection.flushall()

    def keys(self) -> set[str]:
        """Return every key; in a cluster models have a prefix of arbitrary bytes."""
        return {key.decode("latin-1") for connection in self.connections for key in connection.scan_iter()}


def deploy(stack: ExitStack, binary: ServerBinary, module: Module, directory: Path, how: str) -> Deployment:
    """Start a database that lives as long as the stack: "unix", "tcp" or "cluster"."""
    if how == "cluster":
        configs = shard_configs(binary, directory, (module,), 3)
        shards = tuple(stack.enter_context(ShardCluster(configs)).shards)
    else:
        port = free_port() if how == "tcp" else None
        config = ServerConfig(binary, directory, (module,), port=port)
        shards = (stack.enter_context(RedisServer(config)),)
    text = ",".join(shard.address for shard in shards)
    address = Address.parse(text, clustered=how == "cluster")
    return Deployment(address, shards, tuple(shard.connect() for shard in shards))


@pytest.fixture(scope="session", params=["unix", "tcp", "cluster"])
def deployment(
    request: pytest.FixtureRequest, server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[Deployment]:
    """Each way a SmartRedis program can find the database."""
    directory = Path(tempfile.mkdtemp(dir=short_directory))
    with ExitStack() as stack:
        yield deploy(stack, server_binary, module, directory, request.param)


@pytest.fixture(scope="session")
def quiet_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """SmartRedis' environment, without its log on the terminal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SR_LOG_FILE", str(tmp_path_factory.mktemp("log") / "smartredis.log"))
        patch.setenv("SR_LOG_LEVEL", "INFO")
        patch.setenv("SR_CONN_TIMEOUT", "10")
        patch.setenv("SR_CMD_TIMEOUT", "60")
        yield patch


@pytest.fixture
def connect(
    deployment: Deployment, quiet_environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Client]]:
    """Make SmartRedis clients; keyword arguments are further environment variables.

    A client has no close: it hangs up when the test lets go of it.
    """
    del quiet_environment
    deployment.flush()

    def make(**environment: str) -> Client:
        with monkeypatch.context() as patch:
            for name, value in (deployment.address.environment() | environment).items():
                patch.setenv(name, value)
            return Client()

    yield make
    for shard in deployment.shards:
        assert shard.is_alive()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """A SmartRedis client of an empty database."""
    return connect()
