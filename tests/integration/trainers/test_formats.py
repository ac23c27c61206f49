"""Networks of every format from the trainer to the database, and those with a spread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sim_clients import Address, Client, InferenceFailed, connect
from sim_clients.native_library import built_library
from tests.integration.servers import StartServer
from tests.steps import missing
from trainers import DeepEnsemble, Format, McDropout, Publisher
from trainers.networks import Mlp
from trainers.onnx_file import missing_packages
from trainers.uncertainty import Dropout

torch.set_num_threads(1)  # as the database does
X = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)


@pytest.fixture(params=["native", "smartredis"])
def client(
    request: pytest.FixtureRequest, start_server: StartServer, native_library: object
) -> Iterator[Client]:
    server = start_server(arguments=("AOTINDUCTOR", "yes"))
    opened = connect(Address.parse(server.address), client=request.param)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def native_library() -> Path:
    """libpenstock, compiled once."""
    return built_library()


def answers(network: torch.nn.Module) -> list[np.ndarray]:
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(X))
    return [output.numpy() for output in found]


def test_onnx_is_told_from_its_content(client: Client) -> None:
    if packages := missing_packages():
        missing(f"{', '.join(packages)} is not installed: pip install penstock[onnx]")
    network = DeepEnsemble([Mlp(4, 3), Mlp(4, 3)])
    assert Publisher(client, "net", format=Format.ONNX).offer(network, [torch.from_numpy(X[:1])], 1.0) == 1
    for found, expected in zip(client.infer_outputs("net", X, count=2), answers(network), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InferenceFailed, match=r"'net@1' failed: torch .* cannot load it"):
        client.local_model("net")(X)


@pytest.mark.slow  # torch compiles for up to a minute
@pytest.mark.timeout(300)
def test_a_compiled_package_in_the_database_and_in_this_process(
    start_server: StartServer, native_library: object
) -> None:
    server = start_server(arguments=("AOTINDUCTOR", "yes"))
    client = connect(Address.parse(server.address), client="native")
    network = DeepEnsemble([Mlp(4, 3), Mlp(4, 3)])
    Publisher(client, "net", format=Format.AOTINDUCTOR).offer(network, [torch.from_numpy(X[:1])], 1.0)
    with pytest.raises(InferenceFailed, match=r"AOTInductor package.*compiled=True"):
        client.local_model("net")(X)
    here = client.local_model("net", compiled=True).outputs(X)
    there = client.infer_outputs("net", X, count=2)
    for mine, other, expected in zip(here, there, answers(network), strict=True):
        np.testing.assert_array_equal(mine, other)
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5)
    assert client.infer_outputs("net", X[:1], count=2)[0].shape == (1, 3)
    client.close()


def test_dropout_in_the_database_draws_anew_at_every_run(client: Client) -> None:
    network = McDropout(torch.nn.Sequential(torch.nn.Linear(4, 8), Dropout(0.5), torch.nn.Linear(8, 3)))
    Publisher(client, "net").offer(network, [torch.from_numpy(X[:1])], 1.0)
    (mean, spread), (again, _) = (client.infer_outputs("net", X, count=2) for _ in range(2))
    assert mean.shape == spread.shape == (5, 3) and (spread > 0).all()
    assert not np.array_equal(mean, again)
    _, local_spread = client.local_model("net").outputs(X)
    assert local_spread.shape == (5, 3) and (local_spread > 0).all()
