"""How old the samples are that a buffer gives: counted in additions, also after a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim_clients import Snapshot
from trainers import Fifo, Firo, Pairs, Reservoir, checkpoint
from trainers.buffer import AGES
from trainers.samples import Sample


def sample(number: int) -> Sample:
    return {"x": np.array([number], np.float32)}


def test_the_first_of_ten_has_nine_after_it() -> None:
    buffer = Fifo(10, seed=0)
    for number in range(10):
        buffer.add(sample(number))
    assert buffer.ages() == []
    buffer.sample(4)
    assert buffer.ages() == [9, 8, 7, 6]
    buffer.add(sample(10))
    buffer.sample(1)
    assert buffer.ages() == [9, 8, 7, 6, 6]


@pytest.mark.parametrize("kind", [Fifo, Firo, Reservoir])
def test_an_age_is_that_of_the_sample_also_after_a_checkpoint(
    kind: type[Fifo] | type[Firo] | type[Reservoir], tmp_path: Path
) -> None:
    before = kind(50, seed=1)
    for number in range(50):
        before.add(sample(number))
    before.sample(3)
    checkpoint.save(tmp_path / "file", before.state_dict())
    after = kind(50, seed=2)
    after.load_state_dict(checkpoint.load(tmp_path / "file") or {})
    after.add(sample(50))
    drawn = after.sample(20)
    assert after.ages() == [50 - int(each["x"][0]) for each in drawn]


def test_a_pair_is_as_old_as_its_later_snapshot() -> None:
    buffer = Pairs(["u"], "u", [2], snapshots=10, seed=0)
    for step in range(6):
        buffer.add(Snapshot("heat_0", 0, step, {"u": np.array([step], np.float32)}))
    drawn = buffer.sample(4)
    assert buffer.ages() == [5 - int(each["u_next"][0]) for each in drawn]


def test_so_many_are_remembered_and_no_more() -> None:
    buffer = Reservoir(4, seed=0)
    for number in range(4):
        buffer.add(sample(number))
    buffer.sample(AGES + 100)
    assert len(buffer.ages()) == AGES
