"""Networks that are only asked: evaluated, without gradients, and left as they were."""

from __future__ import annotations

import pytest
import torch

from trainers import DeepEnsemble, TrainingRefused
from trainers.answering import answer_of, predicted
from trainers.networks import Mlp

X = torch.ones(3, 2)


@pytest.mark.parametrize("learning", [True, False])
def test_who_is_asked_is_evaluated_and_left_in_its_mode(learning: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5)).train(learning)
    (answer,) = predicted(network, {"x": X})
    assert torch.equal(answer, network[0](X)) and not answer.requires_grad
    assert network.training == network[1].training == learning


def test_who_fails_is_left_in_its_mode_too() -> None:
    network = Mlp(4, 1).train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        predicted(network, {"x": X})
    assert network.training and network.layers.training


def test_fields_are_given_in_their_order() -> None:
    class Difference(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x - y

    (answer,) = predicted(Difference(), {"b": 3 * X, "a": X})
    assert torch.equal(answer, 2 * X)


def test_all_outputs_of_a_network_with_a_spread_are_given_and_of_others_none() -> None:
    mean, spread = predicted(DeepEnsemble([Mlp(2, 1), Mlp(2, 1)]), {"x": X})
    assert mean.shape == spread.shape == (3, 1)

    class Two(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    with pytest.raises(TrainingRefused, match="with a mean and a spread"):
        predicted(Two(), {"x": X})


def test_a_field_of_another_dtype_is_named() -> None:
    for ask in (predicted, answer_of):
        with pytest.raises(TrainingRefused, match="field 'x' is 'float64', and must be float32"):
            ask(Mlp(2, 1), {"x": X.double()})
