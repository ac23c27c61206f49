"""Models in the solver's own process beside the same ones in the database: the same numbers, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sim_clients import Address, Client, InferenceFailed, connect
from tests.integration.servers import RedisServer
from tests.integration.torchscript import constant, scripted, sum_and_difference, torchscript
from trainers.networks import FourierNetwork, Mlp


@pytest.fixture(params=["native", "smartredis"])
def client(request: pytest.FixtureRequest, native_library: object, server: RedisServer) -> Iterator[Client]:
    with server.connect() as connection:
        connection.flushall()
    opened = connect(Address.parse(server.address), client=request.param)
    yield opened
    opened.close()


def convolutional() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 8, 3, padding=1), torch.nn.GELU(), torch.nn.Conv2d(8, 2, 3, padding=1)
    )


NETWORKS = {
    "mlp": (lambda: Mlp(36, 36), (36,)),
    "fourier": (lambda: FourierNetwork((2, 1), 16, modes=4), (2, 16, 16)),
    "convolutional": (convolutional, (2, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_numbers_are_those_of_the_database(client: Client, name: str) -> None:
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    client.put_model(name, scripted(make()), 1)
    model = client.local_model(name)
    random = np.random.default_rng(0)
    for batch in (1, 7, 64):
        for _ in range(4):  # torch optimizes a model in its first runs
            x = random.standard_normal((batch, *shape), dtype=np.float32)
            np.testing.assert_array_equal(model(x), client.infer(name, x))


def test_it_follows_what_others_post(client: Client) -> None:
    x = np.ones((2, 3))
    client.put_model("closure", constant(1.0), 1)
    model = client.local_model("closure", follow_every_s=0)
    for version in (2, 3):
        assert (model(x) == version - 1).all()
        client.put_model("closure", constant(float(version)), version)
        assert (model(x) == version).all() and model.version == version


def test_double_precision_and_several_outputs(client: Client) -> None:
    client.put_model("both", sum_and_difference(), 1)
    a, b = np.random.default_rng(0).standard_normal((2, 5, 3))
    here = client.local_model("both").outputs(a, b)
    there = client.infer_outputs("both", a, b, count=2)
    for mine, other in zip(here, there, strict=True):
        assert mine.dtype == np.float64
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("body", ["return x.to(torch.bfloat16)", "return x.sum()", "return x[5]"])
def test_answers_of_other_types_and_of_no_dimension(client: Client, body: str) -> None:
    x = np.arange(6, dtype=np.float32)
    client.put_model("odd", torchscript(f"def forward(self, x):\n    {body}\n"), 1)
    here, there = client.local_model("odd")(x), client.infer("odd", x)
    assert (here.dtype, here.shape) == (there.dtype, there.shape)
    np.testing.assert_array_equal(here, there)


@pytest.mark.parametrize("body", ["return x.to(torch.complex64)", "raise Exception('no')\n    return x"])
def test_what_the_database_cannot_answer_fails_here_too(client: Client, body: str) -> None:
    x = np.arange(6, dtype=np.float32)
    client.put_model("odd", torchscript(f"def forward(self, x):\n    {body}\n"), 1)
    for call in (lambda: client.local_model("odd")(x), lambda: client.infer("odd", x)):
        with pytest.raises(
            InferenceFailed, match=r"'odd(@1)?' failed: .*(complex64|COMPLEX64|Exception: no)"
        ):
            call()


def test_a_cluster(cluster_address: Address, native_library: object) -> None:
    client = connect(cluster_address, client="native")
    client.put_model("closure", constant(2.0), 1)
    assert (client.local_model("closure")(np.ones(3)) == 2).all()
    client.close()
