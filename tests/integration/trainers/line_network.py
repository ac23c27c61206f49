"""The networks of the tests with ranks, as `python -m trainers.train` is told of them."""

from __future__ import annotations

from trainers import DeepEnsemble
from trainers.networks import Mlp


def line() -> Mlp:
    return Mlp(1, 1, width=8)


def wide() -> Mlp:
    return Mlp(1, 1, width=9)


def ensemble() -> DeepEnsemble:
    return DeepEnsemble([Mlp(1, 1, width=8) for _ in range(3)])
