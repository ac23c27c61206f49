"""Losses, sample by sample, against numpy."""

from __future__ import annotations

import numpy as np
import torch

from trainers.losses import mean_square, relative_square


def test_each_sample_has_its_own() -> None:
    answer, target = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    error = ((answer - target) ** 2).sum((1, 2))
    tensors = torch.from_numpy(answer), torch.from_numpy(target)
    np.testing.assert_allclose(mean_square(*tensors).numpy(), error / 20)
    np.testing.assert_allclose(relative_square(*tensors).numpy(), error / (target**2).sum((1, 2)))
