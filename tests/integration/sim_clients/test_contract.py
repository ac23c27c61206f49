"""The contract over each client of a database: one server (Unix socket, TCP), a cluster of three shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from sim_clients import Address, Client, connect
from sim_clients.native_client import NativeClient
from tests.client_contract import ClientContract, OpenClient, OpenPrefixed, RemoveTensor
from tests.integration.servers import RedisServer, ShardCluster
from tests.model_contract import ReportsContract


class OverDatabase(ClientContract):
    client: str

    @pytest.fixture
    def opened(self) -> Iterator[Callable[[Address, str, int], Client]]:
        """Open clients that are closed after the test."""
        clients: list[Client] = []

        def open_client(address: Address, producer: str, rank: int) -> Client:
            clients.append(connect(address, producer=producer, rank=rank, client=self.client))
            return clients[-1]

        yield open_client
        for client in clients:
            client.close()

    @pytest.fixture
    def open_prefixed(self, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch) -> OpenPrefixed:
        def open_with(producer: str, *variables: str) -> Client:
            with monkeypatch.context() as patch:
                for name, value in zip(variables[::2], variables[1::2], strict=True):
                    patch.setenv(name, value)
                return open_client(producer)

        return open_with


class OverOneServer(OverDatabase):
    @pytest.fixture
    def open_client(self, server: RedisServer, opened: Callable[..., Client]) -> OpenClient:
        address = Address.parse(server.address)
        return lambda producer, rank=0: opened(address, producer, rank)

    @pytest.fixture
    def remove_tensor(self, db: redis.Redis) -> RemoveTensor:
        def remove(key: str) -> None:
            assert db.delete(key) == 1

        return remove


class OverCluster(OverDatabase):
    @pytest.fixture
    def open_client(self, cluster_address: Address, opened: Callable[..., Client]) -> OpenClient:
        return lambda producer, rank=0: opened(cluster_address, producer, rank)

    @pytest.fixture
    def remove_tensor(self, shared_cluster: ShardCluster) -> RemoveTensor:
        def remove(key: str) -> None:
            port = shared_cluster.shards[0].config.port
            with redis.RedisCluster(host="127.0.0.1", port=port) as connection:
                assert connection.delete(key) == 1

        return remove


class TestSmartRedis(ReportsContract, OverOneServer):
    client = "smartredis"


class TestSmartRedisCluster(OverCluster):
    client = "smartredis"


@pytest.mark.usefixtures("native_library")
class TestNative(ReportsContract, OverOneServer):
    client = "native"


@pytest.mark.usefixtures("native_library")
class TestNativeCluster(ReportsContract, OverCluster):
    client = "native"


class SharingMemory(OverDatabase):
    """Every array goes through shared memory, however small."""

    client = "native"

    @pytest.fixture
    def opened_sharing(
        self, opened: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Client]:
        monkeypatch.setenv("PENSTOCK_SHARED_MEMORY", "1")

        def open_client(address: Address, producer: str, rank: int) -> Client:
            client = opened(address, producer, rank)
            assert isinstance(client, NativeClient)
            assert client.transport == "shared memory"
            return client

        return open_client


@pytest.mark.usefixtures("native_library")
class TestNativeSharedMemory(SharingMemory):
    @pytest.fixture
    def open_client(self, sharing_server: RedisServer, opened_sharing: Callable[..., Client]) -> OpenClient:
        with sharing_server.connect() as connection:
            connection.flushall()
        address = Address.parse(sharing_server.address)
        return lambda producer, rank=0: opened_sharing(address, producer, rank)

    @pytest.fixture
    def remove_tensor(self, sharing_server: RedisServer) -> RemoveTensor:
        def remove(key: str) -> None:
            with sharing_server.connect() as connection:
                assert connection.delete(key) == 1

        return remove


@pytest.mark.usefixtures("native_library")
class TestNativeSharedMemoryCluster(SharingMemory):
    @pytest.fixture
    def open_client(self, sharing_cluster: ShardCluster, opened_sharing: Callable[..., Client]) -> OpenClient:
        for shard in sharing_cluster.shards:
            with shard.connect() as connection:
                connection.flushall()
        address = Address.parse(sharing_cluster.address, clustered=True)
        return lambda producer, rank=0: opened_sharing(address, producer, rank)

    @pytest.fixture
    def remove_tensor(self, sharing_cluster: ShardCluster) -> RemoveTensor:
        def remove(key: str) -> None:
            with redis.RedisCluster(
                host="127.0.0.1", port=sharing_cluster.shards[0].config.port
            ) as connection:
                assert connection.delete(key) == 1

        return remove


@pytest.mark.usefixtures("native_library")
class TestNativeTcp(OverDatabase):
    client = "native"

    @pytest.fixture
    def open_client(self, tcp_server: RedisServer, opened: Callable[..., Client]) -> OpenClient:
        with tcp_server.connect() as connection:
            connection.flushall()
        address = Address.parse(tcp_server.address)
        return lambda producer, rank=0: opened(address, producer, rank)

    @pytest.fixture
    def remove_tensor(self, tcp_server: RedisServer) -> RemoveTensor:
        def remove(key: str) -> None:
            with tcp_server.connect() as connection:
                assert connection.delete(key) == 1

        return remove
