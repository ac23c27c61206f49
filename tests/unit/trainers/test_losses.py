"""Losses, sample by sample, against numpy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from trainers import TrainingRefused
from trainers.losses import Loss, mean_square, of_samples, relative_square


def test_each_sample_has_its_own() -> None:
    answer, target = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    error = ((answer - target) ** 2).sum((1, 2))
    tensors = torch.from_numpy(answer), torch.from_numpy(target)
    np.testing.assert_allclose(mean_square(*tensors).numpy(), error / 20)
    np.testing.assert_allclose(relative_square(*tensors).numpy(), error / (target**2).sum((1, 2)))


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
