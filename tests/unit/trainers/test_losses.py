"""Losses, sample by sample, against numpy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from trainers import TrainingRefused
from trainers.gate import relative_l2
from trainers.losses import Loss, mean_square, of_samples, relative_square


def test_each_sample_has_its_own() -> None:
    answer, target = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    error = ((answer - target) ** 2).sum((1, 2))
    tensors = torch.from_numpy(answer), torch.from_numpy(target)
    np.testing.assert_allclose(mean_square(*tensors).numpy(), error / 20)
    np.testing.assert_allclose(relative_square(*tensors).numpy(), error / (target**2).sum((1, 2)))


EXTREMES = [3e38, 1e20, 1e-18, 1e-25, 1e-37]


@pytest.mark.parametrize("scale", EXTREMES)
def test_a_relative_error_does_not_depend_on_the_unit(scale: float) -> None:
    generator = np.random.default_rng(0)
    answer, target = generator.uniform(-1, 1, size=(2, 3, 4, 5)).astype(np.float32)
    target[1] = 0
    of_ones = torch.from_numpy(answer).requires_grad_(), torch.from_numpy(target)
    expected = relative_square(*of_ones)
    expected.mean().backward()
    assert of_ones[0].grad is not None
    scaled = (torch.from_numpy(each * np.float32(scale)).requires_grad_() for each in (answer, target))
    given = tuple(scaled)
    found = relative_square(given[0], given[1].detach())
    found.mean().backward()
    assert given[0].grad is not None
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    slopes = given[0].grad.double() * scale
    torch.testing.assert_close(slopes, of_ones[0].grad.double(), rtol=1e-4, atol=1e-6)
    arrays = [each.detach().numpy() for each in given]
    error = relative_l2(*arrays)
    assert error == pytest.approx(relative_l2(answer, target), rel=1e-5)


def test_samples_of_a_batch_may_be_of_any_size() -> None:
    sizes = torch.tensor(EXTREMES)[:, None]
    answer, target = 1.5 * torch.ones(5, 7) * sizes.clamp_max(1e38), torch.ones(5, 7) * sizes.clamp_max(1e38)
    torch.testing.assert_close(
        relative_square(answer, target), torch.full((5,), 0.25).double(), rtol=1e-5, atol=0
    )


def test_an_error_larger_than_any_number_of_the_fields_has_a_relative_size() -> None:
    target = torch.full((1, 3), 3e38)
    assert relative_square(-target, target).item() == pytest.approx(4)
    assert relative_l2(-target.numpy(), target.numpy()) == pytest.approx(2)


@pytest.mark.parametrize(("answer", "target"), [((4, 1, 8, 8), (4, 8, 8)), ((4, 1), (4, 3)), ((4, 1), (4,))])
@pytest.mark.parametrize("loss", [mean_square, relative_square])
def test_shapes_that_torch_would_broadcast_are_refused_by_name(
    loss: Loss, answer: tuple[int, ...], target: tuple[int, ...]
) -> None:
    for refused in (loss, lambda *both: of_samples(lambda a, b: (a - b).flatten(1).sum(1), *both)):
        with pytest.raises(
            TrainingRefused, match=re.escape(f"{answer}, and must be that of its target, {target}")
        ):
            refused(torch.ones(answer), torch.ones(target))
