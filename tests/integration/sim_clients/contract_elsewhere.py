"""The contract over the native client, for a Python that has no torch; see test_other_pythons.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from sim_clients import Address, Client, connect
from tests.client_contract import ClientContract, Networks, OpenClient, OpenPrefixed, RemoveTensor

ADDRESS = Address.parse(os.environ["PENSTOCK_TEST_ADDRESS"])
MODELS = Path(os.environ["PENSTOCK_TEST_MODELS"])


class TestNative(ClientContract):
    @pytest.fixture
    def db(self) -> Iterator[redis.Redis]:
        with redis.Redis(unix_socket_path=str(ADDRESS.unix_socket)) as connection:
            connection.execute_command("FLUSHALL", "SYNC")
            yield connection

    @pytest.fixture
    def open_client(self, db: redis.Redis) -> Iterator[OpenClient]:
        clients: list[Client] = []

        def open_client(producer: str, rank: int = 0) -> Client:
            clients.append(connect(ADDRESS, producer=producer, rank=rank, client="native"))
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

    @pytest.fixture
    def remove_tensor(self, db: redis.Redis) -> RemoveTensor:
        def remove(key: str) -> None:
            assert db.delete(key) == 1

        return remove

    @pytest.fixture
    def networks(self) -> Networks:
        return Networks(
            doubles=(MODELS / "doubles").read_bytes(),
            triples=(MODELS / "triples").read_bytes(),
            multiplies_matrices=(MODELS / "multiplies_matrices").read_bytes(),
            doubles_and_triples=(MODELS / "doubles_and_triples").read_bytes(),
        )


def test_nothing_of_smartredis_is_used() -> None:
    assert "smartredis" not in sys.modules
