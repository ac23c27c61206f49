"""Ranks that were started with different settings end before the first step, all with the same sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sim_clients import MemoryClient, MemoryDatabase
from tests.unit.trainers.rank_threads import on_ranks
from trainers import Buffer, Pairs, RanksDiffer, Reservoir, TrainingRefused
from trainers.agreement import check_alike, of_buffer, of_network, of_training
from trainers.distributed import Ranks
from trainers.losses import mean_square, relative_square
from trainers.networks import Mlp
from trainers.publish import Terms
from trainers.train import Training, train
from trainers.until import Target

TRAINING = Training(
    model="line",
    producers=("a",),
    held_out=("b",),
    inputs=("x",),
    target="y",
    jump=0,
    steps=10,
    seconds=60.0,
)


@dataclasses.dataclass(frozen=True)
class Start:
    """What a rank is started with."""

    training: Training = TRAINING
    buffer: Callable[[], Buffer[Any] | Pairs] = lambda: Reservoir(100, watermark=8, seed=0)
    network: Callable[[], torch.nn.Module] = lambda: Mlp(1, 1, width=8)
    loss: Any = relative_square


OTHERS = [
    (Start(dataclasses.replace(TRAINING, batch_size=8)), "batch_size is 8, and rank 0's is 16"),
    (Start(dataclasses.replace(TRAINING, inputs=("z",))), r"inputs is \('z',\), and rank 0's is \('x',\)"),
    (
        Start(buffer=lambda: Reservoir(200, watermark=8, seed=0)),
        "buffer's bound is 200 samples, and rank 0's is 100 samples",
    ),
    (
        Start(buffer=lambda: Reservoir(100, watermark=9, seed=0)),
        "buffer's watermark is 9, and rank 0's is 8",
    ),
    (
        Start(buffer=lambda: Pairs(["x"], "y", [0], snapshots=9, seed=0)),
        "buffer's kind is Pairs, and rank 0's is Reservoir",
    ),
    (
        Start(network=lambda: Mlp(1, 1, width=9)),
        r"network's layers\.0\.weight is \(9, 1\) float32, and rank 0's is \(8, 1\) float32",
    ),
    (
        Start(network=lambda: Mlp(1, 1, width=8).double()),
        r"\(8, 1\) float64, and rank 0's is \(8, 1\) float32",
    ),
    (
        Start(network=lambda: torch.nn.Linear(1, 1)),
        r"network's kind is torch.nn.modules.linear.Linear, and rank 0's is trainers.networks.Mlp",
    ),
    (Start(loss=mean_square), "loss is mean_square, and rank 0's is relative_square"),
]


@pytest.mark.parametrize(("other", "said"), OTHERS)
def test_ranks_with_other_settings_end_all_with_one_sentence(other: Start, said: str, tmp_path: Path) -> None:
    database = MemoryDatabase()

    def run(ranks: Ranks) -> str:
        start = other if ranks.rank == 1 else Start()
        client = MemoryClient(database, f"trainer_{ranks.rank}")
        own = start.network(), client, start.training, start.buffer(), tmp_path
        with pytest.raises(RanksDiffer, match=f"rank 1 of 3 .*{said}") as refused:
            train(*own, loss=start.loss, ranks=ranks)
        return str(refused.value)

    assert len(set(on_ranks(3, run))) == 1
    assert not list(tmp_path.iterdir())


def test_a_parameter_that_only_one_of_the_ranks_has_is_named() -> None:
    more = torch.nn.Linear(1, 1)
    more.extra = torch.nn.Parameter(torch.zeros(2))
    more.layer = torch.nn.BatchNorm1d(1)

    def run(ranks: Ranks) -> RanksDiffer:
        with pytest.raises(RanksDiffer) as refused:
            check_alike(ranks, of_network(torch.nn.Linear(1, 1) if ranks.rank else more))
        return refused.value

    first, second = on_ranks(2, run)
    assert (first.rank, first.setting, first.value, first.expected) == (
        1,
        "network's extra",
        "missing",
        "(2,) float32",
    )
    assert vars(first) == vars(second)


def test_frozen_parameters_and_buffers_are_part_of_a_network() -> None:
    network = torch.nn.BatchNorm1d(2)
    network.weight.requires_grad_(False)
    assert of_network(network) == {
        "network's kind": "torch.nn.modules.batchnorm.BatchNorm1d",
        "network's weight": "(2,) float32, not learned",
        "network's bias": "(2,) float32",
        "network's running_mean": "(2,) float32, not learned",
        "network's running_var": "(2,) float32, not learned",
        "network's num_batches_tracked": "() int64, not learned",
    }


def test_seeds_and_what_rank_0_alone_asks_may_differ() -> None:
    assert of_buffer(Reservoir(100, seed=0)) == of_buffer(Reservoir(100, seed=1))
    assert of_buffer(Pairs(["x"], "y", [1, 2], snapshots=9, seed=0)) == {
        "buffer's kind": "Pairs",
        "buffer's watermark": 1,
        "buffer's bound": "9 snapshots",
        "buffer's jumps": [1, 2],
        "buffer's fields": ["x", "y"],
    }
    told = dataclasses.replace(TRAINING, until=(Target(0.1),), terms=Terms())
    assert of_training(told) == of_training(TRAINING)


def test_ranks_with_the_same_settings_go_on() -> None:
    assert on_ranks(3, lambda ranks: check_alike(ranks, of_training(TRAINING))) == [None] * 3


def test_a_network_that_is_not_made_yet_is_refused() -> None:
    network = torch.nn.Sequential(torch.nn.LazyLinear(3))
    with pytest.raises(TrainingRefused, match=r"network .*Sequential.* run once on a sample"):
        of_network(network)
    network(torch.zeros(2, 4))
    assert of_network(network)["network's 0.weight"] == "(3, 4) float32"
