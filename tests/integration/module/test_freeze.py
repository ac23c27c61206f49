"""FREEZE yes: an optimized model answers as it did, one row or several, however it is asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import redis
import torch

from tests.bench.inference.networks import Network, cnn, mlp
from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.servers import RedisServer, StartServer
from tests.integration.torchscript import scripted


@pytest.fixture
def optimizing(start_server: StartServer) -> RedisServer:
    """A server that optimizes models when they are loaded."""
    return start_server(arguments=("FREEZE", "yes"))


def expected(network: Network, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network.module(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("network", [cnn(), mlp(64)], ids=lambda network: network.name)
@pytest.mark.parametrize("rows", [1, 2, 3, 17])
def test_any_number_of_rows(optimizing: RedisServer, network: Network, rows: int) -> None:
    db = optimizing.connect()
    store_model(db, "m", network.file)
    x = np.random.default_rng(rows).standard_normal((rows, *network.shape[1:])).astype(np.float32)
    for _ in range(3):  # TorchScript's executor changes its mind with each run
        put(db, "x", x)
        execute(db, "m", ["x"], ["y"])
        np.testing.assert_allclose(get(db, "y"), expected(network, x), rtol=1e-4, atol=1e-5)


SCRIPTED = {
    "perceptron": torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)),
    "convolutions": torch.nn.Sequential(
        torch.nn.Conv1d(1, 4, 3), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Flatten()
    ),
    "without layers": torch.nn.Sequential(torch.nn.ReLU()),
}


@pytest.mark.parametrize("name", SCRIPTED)
def test_scripted_networks(optimizing: RedisServer, name: str) -> None:
    """Freezing takes methods away, and leaves gaps among the functions of the module."""
    db, network = optimizing.connect(), SCRIPTED[name].eval()
    store_model(db, "m", scripted(network))
    for rows in (1, 3):
        x = np.random.default_rng(rows).standard_normal((rows, 1, 8)).astype(np.float32)
        put(db, "x", x)
        execute(db, "m", ["x"], ["y"])
        with torch.no_grad():
            wanted = network(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(get(db, "y"), wanted, rtol=1e-4, atol=1e-5)


def test_many_clients_that_share_runs(optimizing: RedisServer) -> None:
    network = cnn()
    store_model(optimizing.connect(), "m", network.file, "BATCHSIZE", 8)

    def ask(seed: int) -> None:
        db: redis.Redis = optimizing.connect()
        for i in range(20):
            x = np.random.default_rng([seed, i]).standard_normal(network.shape).astype(np.float32)
            put(db, f"x{seed}", x)
            execute(db, "m", [f"x{seed}"], [f"y{seed}"])
            np.testing.assert_allclose(get(db, f"y{seed}"), expected(network, x), rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(ask, range(8)))


def test_what_is_no_model_is_refused_all_the_same(optimizing: RedisServer) -> None:
    assert refusal(optimizing.connect(), "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", b"garbage")
