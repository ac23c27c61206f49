"""The network of the tests with ranks, as `python -m trainers.train` is told of it."""

from __future__ import annotations

from trainers.networks import Mlp


def line() -> Mlp:
    return Mlp(1, 1, width=8)
