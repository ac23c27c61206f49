"""The contract in memory."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from sim_clients import MemoryClient, MemoryDatabase, ModelRejected
from sim_clients.keys import Prefixes
from tests.client_contract import ClientContract, Networks, OpenClient, OpenPrefixed, RemoveTensor
from tests.model_contract import ReportsContract

OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "doubles": lambda x: 2 * x,
    "triples": lambda x: 3 * x,
    "multiplies": lambda x, y: x @ y,
    "both": lambda x: (2 * x, 3 * x),
}


def load_operation(model: bytes) -> Callable[..., np.ndarray]:
    return OPERATIONS[json.loads(model)]


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase(load=load_operation)


class TestMemoryClient(ReportsContract, ClientContract):
    @pytest.fixture
    def open_client(self, database: MemoryDatabase) -> OpenClient:
        return lambda producer, rank=0: MemoryClient(database, producer, rank)

    @pytest.fixture
    def open_prefixed(self, database: MemoryDatabase) -> OpenPrefixed:
        def open_client(producer: str, *variables: str) -> MemoryClient:
            environment = dict(zip(variables[::2], variables[1::2], strict=True))
            return MemoryClient(database, producer, prefixes=Prefixes.from_environment(environment))

        return open_client

    @pytest.fixture
    def remove_tensor(self, database: MemoryDatabase) -> RemoveTensor:

        def remove(key: str) -> None:
            del database.tensors[key]

        return remove

    @pytest.fixture
    def networks(self) -> Networks:
        return Networks(b'"doubles"', b'"triples"', b'"multiplies"', b'"both"')


def test_a_database_without_a_loader_says_so() -> None:
    with pytest.raises(ModelRejected, match="no loader"):
        MemoryClient(MemoryDatabase()).put_model("closure", b"anything", 1)


def test_what_is_stored_does_not_change_with_the_array_it_came_from(database: MemoryDatabase) -> None:
    client = MemoryClient(database)
    u = np.zeros(3)
    client.put_snapshot(0, {"u": u})
    client.put_tensor("t", u)
    u[:] = 7
    assert not client.get_snapshot(0).fields["u"].any()
    assert not client.get_tensor("t").any()
