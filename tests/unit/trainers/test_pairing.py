"""Pairs of successive snapshots, and batches of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sim_clients import Snapshot
from trainers import SampleError, TrainingRefused
from trainers.batches import batch_of
from trainers.pairing import PATIENCE, Pairing


def snapshot(step: int, producer: str = "a", rank: int = 0) -> Snapshot:
    fields = {"u": np.full((2, 2), step, np.float32), "s": np.full(1, -step, np.float32)}
    return Snapshot(producer, rank, step, fields)


def test_only_snapshots_one_jump_apart_make_a_sample() -> None:
    pairs = Pairing(["u", "s"], "u", jump=10)
    assert pairs.add(snapshot(0)) is None
    sample = pairs.add(snapshot(10))
    assert sample is not None
    assert {name: float(value.flat[0]) for name, value in sample.items()} == {"u": 0, "s": 0, "u_next": 10}
    assert pairs.add(snapshot(30)) is None
    assert pairs.add(snapshot(40)) is not None


def test_a_jump_that_no_snapshots_are_apart_is_told_with_what_they_are() -> None:
    pairs = Pairing(["u"], "u", jump=4)
    with pytest.raises(TrainingRefused, match=r"jump is 4, .* of a\.0 they are 1 apart") as caught:
        for step in range(PATIENCE + 1):
            assert pairs.add(snapshot(step)) is None
    assert caught.value.setting == "jump" and step == PATIENCE


def test_a_jump_that_some_snapshots_are_apart_waits_for_the_next_ones() -> None:
    pairs = Pairing(["u"], "u", jump=4)
    pairs.add(snapshot(0))
    assert pairs.add(snapshot(4)) is not None
    for step in range(5, 2 * PATIENCE):
        assert pairs.add(snapshot(step)) is None


def test_ranks_and_producers_are_apart() -> None:
    pairs = Pairing(["u"], "u", jump=1)
    for producer, rank in (("a", 0), ("a", 1), ("b", 0)):
        assert pairs.add(snapshot(0, producer, rank)) is None
    for producer, rank in (("a", 0), ("a", 1), ("b", 0)):
        assert pairs.add(snapshot(1, producer, rank)) is not None


def test_a_jump_of_0_takes_both_from_one_snapshot() -> None:
    sample = Pairing(["s"], "u", jump=0).add(snapshot(3))
    assert sample is not None
    assert {name: float(value.flat[0]) for name, value in sample.items()} == {"s": -3, "u_next": 3}


@pytest.mark.parametrize(("inputs", "target"), [(["u", "p"], "u"), (["u"], "p")])
def test_a_field_that_is_not_there_is_named(inputs: list[str], target: str) -> None:
    with pytest.raises(SampleError, match=r"'a\.0\.5' has no field 'p', it has u, s") as caught:
        Pairing(inputs, target, jump=1).add(snapshot(5))
    assert caught.value.field == "p"


def test_resumed_pairs_lose_none() -> None:
    before, after = Pairing(["u"], "u", jump=1), Pairing(["u"], "u", jump=1)
    before.add(snapshot(0))
    after.load_state_dict(before.state_dict())
    assert after.add(snapshot(1)) is not None


def test_a_batch_stacks_each_field() -> None:
    batch = batch_of([{"u": np.zeros((2, 3), np.float32)}, {"u": np.ones((2, 3), np.float32)}])
    assert batch["u"].shape == (2, 2, 3)
    assert batch["u"].dtype == torch.float32
