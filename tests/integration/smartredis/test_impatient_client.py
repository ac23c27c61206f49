"""A SmartRedis program that Penstock did not start waits 250 ms for a reply, then repeats the command."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from smartredis import Client

from orchestrator.build import built_module
from sim_clients.address import Address
from tests.integration.servers import Module, RedisServer, StartServer, free_port
from tests.integration.torchscript import forward, heavy, never_loaded


@pytest.fixture
def fresh_server(start_server: StartServer) -> RedisServer:
    """A server that has not opened torch yet, and answers a store when it does so by itself."""
    build = built_module()
    return start_server(port=free_port(), modules=(Module(build.module, build.load_arguments()),))


@pytest.fixture
def impatient(
    fresh_server: RedisServer, quiet_environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """A client with SmartRedis' own defaults, but for how long it waits before it repeats."""
    del quiet_environment
    for name, value in Address.parse(fresh_server.address).environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SR_SOCKET_TIMEOUT", "250")
    monkeypatch.setenv("SR_CMD_INTERVAL", "100")
    yield Client()
    assert fresh_server.is_alive()


def test_the_first_model_of_a_server_arrives(impatient: Client) -> None:
    """Opening torch may take longer than the client waits; a repeated store is no error."""
    impatient.set_model("m", forward("return x + 1"), "TORCH")
    impatient.put_tensor("x", np.zeros(2, np.float32))
    impatient.run_model("m", "x", "y")
    assert impatient.get_tensor("y").tolist() == [1.0, 1.0]


def test_a_large_model_arrives(impatient: Client) -> None:
    """The run waits for the load, and may be asked for again while it does."""
    impatient.set_model("m", heavy(64), "TORCH")
    impatient.put_tensor("x", np.zeros(1, np.float32))
    impatient.run_model("m", "x", "y")
    assert impatient.get_tensor("y").tolist() == [1.0]


def test_a_model_whose_load_takes_long_is_stored_meanwhile(
    impatient: Client, fresh_server: RedisServer
) -> None:
    impatient.set_model("m", never_loaded(), "TORCH")
    with fresh_server.connect() as db:
        assert db.exists("m") == 1


def test_the_first_script_of_a_server_arrives(impatient: Client) -> None:
    impatient.set_script("s", "def double(a):\n    return a * 2\n")
    impatient.put_tensor("x", np.ones(2))
    impatient.run_script("s", "double", "x", "y")
    assert impatient.get_tensor("y").tolist() == [2.0, 2.0]
