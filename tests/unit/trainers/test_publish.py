"""Export and posting: only what answers as trained, only what is better."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sim_clients import MemoryClient, MemoryDatabase
from trainers import ExportMismatch, Publisher, export
from trainers.exporting import check_same
from trainers.networks import FourierNetwork, Mlp


def load_torchscript(model: bytes) -> Callable[..., np.ndarray]:
    network = torch.jit.load(io.BytesIO(model))
    return lambda *inputs: network(*map(torch.from_numpy, inputs)).detach().numpy()


@pytest.fixture
def client() -> MemoryClient:
    return MemoryClient(MemoryDatabase(load=load_torchscript))


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


@pytest.mark.parametrize(
    ("network", "shape"),
    [(Mlp(2, 3), (5, 2)), (FourierNetwork((3, 1), 12, modes=4, width=4), (2, 3, 12, 12))],
    ids=["mlp", "fourier"],
)
def test_the_archive_answers_as_the_network_at_any_batch_size(
    client: MemoryClient, network: torch.nn.Module, shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    archive = export(network, [x[:1]])
    client.put_model("net", archive, 1)
    np.testing.assert_allclose(client.infer("net", x.numpy()), network(x).detach().numpy(), atol=1e-5)


def test_exporting_leaves_the_network_in_training() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).train()
    export(network, [torch.randn(4, 2)])
    assert network.training


def test_an_archive_that_answers_otherwise_is_refused() -> None:
    class Moody(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1.0 if torch.jit.is_scripting() else x

    with pytest.raises(ExportMismatch, match="exported network's answer"):
        export(Moody(), [torch.ones(2, 2)])


@pytest.mark.parametrize("found", [[1.0, 2.1], [1.0, float("nan")], [1.0], [[1.0, 2.0]]])
def test_another_answer_is_seen(found: list[float]) -> None:
    with pytest.raises(ExportMismatch):
        check_same(torch.tensor(found), torch.tensor([1.0, 2.0]))


def test_only_better_networks_are_posted(client: MemoryClient) -> None:
    publisher = Publisher(client, "net", improvement=0.1)
    network, example = Mlp(1, 1), [torch.ones(1, 1)]
    losses = [1.0, 1.0, 0.95, 0.8, float("nan"), 0.5]
    assert [publisher.offer(network, example, loss) for loss in losses] == [1, None, None, 2, None, 3]
    assert client.model_version("net") == 3
    assert publisher.best_loss == 0.5


def test_a_resumed_publisher_goes_on_behind_the_live_version(client: MemoryClient) -> None:
    first, network, example = Publisher(client, "net"), Mlp(1, 1), [torch.ones(1, 1)]
    first.offer(network, example, 1.0)
    state = first.state_dict()
    first.offer(network, example, 0.9)  # after the checkpoint, then killed
    second = Publisher(client, "net")
    second.load_state_dict(state)
    assert second.offer(network, example, 1.0) is None
    assert second.offer(network, example, 0.8) == 3
