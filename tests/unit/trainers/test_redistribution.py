"""What ranks held goes to those that go on: all of it, each to one, as drawn as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim_clients import Snapshot
from trainers import Fifo, Firo, Pairs, Reservoir
from trainers.redistribution import buffer_of, dealt, loader_of, stream_of
from trainers.share import Share

KINDS = [Fifo, Firo, Reservoir]


def sample(value: int) -> dict[str, Any]:
    return {"x": np.array([value])}


def values(samples: Any) -> list[int]:
    return sorted(int(each["x"][0]) for each in samples)


def anybody(producer: str, rank: int) -> bool:
    return True


def share(rank: int, world: int) -> Share:
    return Share(rank, world, ("a", "b", "c"), ("held",), together=True)


def test_dealt_in_turn_the_first_of_each_before_the_second_of_any() -> None:
    assert dealt([[1, 4, 6], [2], [3, 5]], 0, 2) == [1, 3, 5]
    assert dealt([[1, 4, 6], [2], [3, 5]], 1, 2) == [2, 4, 6]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [1, 2, 5])
def test_samples_are_dealt_those_never_drawn_apart(kind: Any, world: int) -> None:
    before = []
    for rank in range(3):
        buffer = kind(20, seed=rank)
        for value in range(10 * rank, 10 * rank + 8):
            buffer.add(sample(value))
        buffer.sample(3)
        before.append(buffer)
    states = [buffer.state_dict() for buffer in before]
    after = []
    for rank in range(world):
        buffer = kind(20, seed=0)
        buffer.load_state_dict(buffer_of(states, rank, world, anybody))
        after.append(buffer)
    held = [each for state in states for each in state["samples"]]
    assert values(each for buffer in after for each in buffer.state_dict()["samples"]) == values(held)
    assert sum(buffer.unseen for buffer in after) == sum(buffer.unseen for buffer in before)
    assert max(map(len, after)) - min(map(len, after)) <= 2
    assert sum(buffer.added for buffer in after) == 24
    draws = [buffer.state_dict()["generator"]["state"]["state"] for buffer in after]
    assert len(set(draws)) == world
    drawn: list[Any] = []
    for buffer in after:
        buffer.drain()
        while not buffer.exhausted:
            drawn += buffer.sample(4)
    assert values(drawn) == values(held)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_sample_that_is_dealt_stays_as_old_as_it_was(world: int) -> None:
    states = []
    for first in (0, 100):
        buffer = Fifo(10, seed=0)
        for number in range(10):
            buffer.add(sample(first + number))
        states.append(buffer.state_dict())
    if world == 2:
        states = states[:1]  # of as many ranks each goes on with its own
    for rank in range(world):
        buffer = Fifo(30, seed=0)
        state = buffer_of(states, rank, world, anybody)
        buffer.load_state_dict({**state, "bound": [30, None]})
        drawn = buffer.sample(len(buffer))
        assert buffer.ages() == [9 - int(each["x"][0]) % 100 for each in drawn]


def test_a_rank_that_holds_more_than_its_bound_takes_nothing_in_before_it_has_learned() -> None:
    states = []
    for rank in range(3):
        full = Reservoir(4, seed=rank)
        for value in range(4):
            full.add(sample(4 * rank + value))
        states.append(full.state_dict())
    one = Reservoir(4, seed=0)
    one.load_state_dict(buffer_of(states, 0, 1, anybody))
    assert len(one) == one.unseen == 12
    assert one.room() == 0
    for _ in range(100):
        one.sample(4)
    assert one.room() == 4
    one.add(sample(99))
    assert len(one) == 4


@pytest.mark.parametrize("world", [1, 2, 3])
def test_trajectories_of_pairs_move_whole(world: int) -> None:
    jumps = [1, 3]
    before = []
    for rank, producers in enumerate(("ac", "b")):
        pairs = Pairs(["x"], "x", jumps, snapshots=40, seed=rank)
        for step in range(9):
            for producer in producers:
                pairs.add(Snapshot(producer, 0, step, sample(step)))
            if len(pairs):
                pairs.sample(2)
        before.append(pairs)
    states = [pairs.state_dict() for pairs in before]
    after = []
    for rank in range(world):
        pairs = Pairs(["x"], "x", jumps, snapshots=40, seed=0)
        pairs.load_state_dict(buffer_of(states, rank, world, share(rank, world).owns_trajectory))
        after.append(pairs)
    for count in ("unseen", "snapshots"):
        assert sum(getattr(each, count) for each in after) == sum(getattr(each, count) for each in before)
    assert sum(map(len, after)) == sum(map(len, before))
    for rank, pairs in enumerate(after):
        owners = {producer for _, producer, _, _ in pairs.state_dict()["names"]}
        assert all(share(rank, world).owns_trajectory(producer, 0) for producer in owners)
        if "a" in owners:  # the trajectory goes on
            count = len(pairs)
            pairs.add(Snapshot("a", 0, 9, sample(9)))
            assert len(pairs) == count + len(jumps)
        pairs.sample(200)
        assert pairs.unseen == 0


def test_a_stream_begins_at_the_last_rank_and_passes_over_what_others_have_read() -> None:
    of_one = {"contract": None, "shapes": {}, "missed": 0, "non_finite": 0}
    states = [{**of_one, "cursor": 9, "ahead": [2, 5, 7]}, {**of_one, "cursor": 4, "ahead": [3]}]
    for rank in range(2):
        merged = stream_of(states, rank)
        assert (merged["cursor"], merged["ahead"]) == (4, [5, 7])


def test_what_was_skipped_is_counted_once() -> None:
    of_one = {"contract": None, "shapes": {}, "cursor": 0, "ahead": []}
    states = [{**of_one, "missed": 5, "non_finite": 1}, {**of_one, "missed": 4, "non_finite": 2}]
    assert [stream_of(states, rank)["non_finite"] for rank in range(3)] == [3, 0, 0]
    assert [stream_of(states, rank)["missed"] for rank in range(3)] == [5, 5, 5]


def test_of_as_many_ranks_each_goes_on_with_its_own() -> None:
    stream = {"cursor": 3, "ahead": [], "contract": None, "shapes": {}, "missed": 0, "non_finite": 0}
    others = {"intake": {"stream": stream}}  # all that the checkpoint itself has of them
    own = {"intake": {"stream": {**stream, "cursor": 8}, "buffer": "own"}, "drawn": ["own"]}
    loaded = loader_of([others, own], 1, 2, anybody)
    assert loaded["drawn"] == ["own"]
    assert loaded["intake"]["buffer"] == "own"
    assert loaded["intake"]["stream"]["cursor"] == 3


def test_batches_that_were_drawn_and_not_learned_from_are_dealt() -> None:
    stream = {"cursor": 3, "ahead": [], "contract": None, "shapes": {}, "missed": 0, "non_finite": 0}
    intakes = [
        {
            "stream": stream,
            "pairing": {"last": {f"{name}.0": [3, sample(1)]}},
            "buffer": Fifo(4, seed=0).state_dict(),
            "moments": {"x": [1, 2.0 * place, 0.0]},
            "judges": ["judge"] if place == 0 else [],
            "begun": place == 1,
            "came": [name],
        }
        for place, name in enumerate("ab")
    ]
    states = [{"intake": intake, "drawn": [[place], [place + 2]]} for place, intake in enumerate(intakes)]
    loaded = [loader_of(states, rank, 3, share(rank, 3).owns_trajectory) for rank in range(3)]
    assert [each["drawn"] for each in loaded] == [[[0], [3]], [[1]], [[2]]]
    assert [list(each["intake"]["pairing"]["last"]) for each in loaded] == [["a.0"], ["b.0"], []]
    assert [each["intake"]["judges"] for each in loaded] == [["judge"], [], []]
    assert [each["intake"]["moments"]["x"] for each in loaded] == [
        [2, 1.0, 2.0],
        [0, 0.0, 0.0],
        [0, 0.0, 0.0],
    ]
    assert all(each["intake"]["begun"] for each in loaded)
    assert [each["intake"]["came"] for each in loaded] == [["a", "b"]] * 3
