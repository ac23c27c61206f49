"""Pairs: bounds, that no pair is lost before it was drawn, rounds, and going on from a saved state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from sim_clients import Snapshot
from trainers import (
    BufferEmpty,
    BufferFull,
    BufferRefused,
    Pairs,
    SampleError,
    SampleTooLarge,
    checkpoint,
)
from trainers.samples import Sample

Pair = tuple[int, int]


def snapshot(number: int, step: int, producer: str = "a", rank: int = 0, size: int = 1) -> Snapshot:
    """A snapshot of `4 * size` bytes, whose field says which it is."""
    return Snapshot(producer, rank, step, {"u": np.full(size, number, np.float32)})


def pairs_of(samples: Iterable[Sample]) -> list[Pair]:
    return [(int(sample["u"][0]), int(sample["u_next"][0])) for sample in samples]


def buffer(snapshots: int | None = 10, jumps: Iterable[int] = (1,), **settings: Any) -> Pairs:
    return Pairs(["u"], "u", tuple(jumps), **{"snapshots": snapshots, "seed": 3} | settings)


def filled(count: int, **settings: Any) -> Pairs:
    pairs = buffer(count, **settings)
    for step in range(count):
        pairs.add(snapshot(step, step))
    return pairs


# --- what makes no sense ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"snapshots": None}, "bound is None, and must be a number of snapshots"),
        ({"snapshots": 0}, "snapshots is 0"),
        ({"jumps": ()}, r"jumps is \(\), and must be at least one"),
        ({"jumps": (1, -1)}, "none of them negative"),
        ({"snapshots": 1}, "snapshots is 1, and must be at least 2, for its jumps"),
        ({"snapshots": 2, "jumps": (1, 2)}, "at least 3, for its jumps"),
        ({"watermark": 0}, "watermark is 0"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BufferRefused, match=says):
        buffer(**settings)


def test_sizes_that_cannot_be_held_are_refused() -> None:
    pairs = buffer(None, nbytes=100)
    with pytest.raises(SampleTooLarge, match="104 bytes"):
        pairs.add(snapshot(0, 0, size=26))
    with pytest.raises(BufferRefused, match="at least 104, for 2 snapshots of 52 bytes"):
        pairs.add(snapshot(0, 0, size=13))
    assert pairs.snapshots == pairs.nbytes == 0


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(SampleError, match="has no field 'p', it has u"):
        Pairs(["u", "p"], "u", [1], snapshots=9, seed=0).add(snapshot(0, 0))


def test_a_draw_of_nothing_is_refused() -> None:
    pairs = buffer()
    pairs.add(snapshot(0, 0))
    with pytest.raises(BufferEmpty):
        pairs.sample(1)
    with pytest.raises(ValueError, match="0 were asked for"):
        filled(3).sample(0)


def test_a_full_buffer_refuses_what_would_lose_a_pair_that_was_never_drawn() -> None:
    pairs = filled(4)
    assert pairs.room() == 0
    with pytest.raises(BufferFull, match="bound is 4 snapshots, and none of the 4"):
        pairs.add(snapshot(4, 4))
    assert set(pairs_of(pairs.sample(3))) == {(0, 1), (1, 2), (2, 3)}
    assert pairs.room()
    pairs.add(snapshot(4, 4))
    assert pairs_of(pairs.sample(1)) == [(3, 4)] or pairs.unseen


def test_a_bound_below_the_number_of_trajectories_is_refused_when_that_shows() -> None:
    pairs = buffer(4)
    for i in range(4):
        pairs.add(snapshot(i, 0, f"producer_{i}"))
    with pytest.raises(BufferRefused, match=r"bound is '4 snapshots', .*none of the 4 snapshots makes"):
        pairs.add(snapshot(4, 0, "producer_4"))


def test_the_state_of_another_buffer_is_refused() -> None:
    state = filled(5).state_dict()
    with pytest.raises(ValueError, match=r"of 5 snapshots with jumps \(1,\), this is .* 6 snapshots"):
        buffer(6).load_state_dict(state)
    with pytest.raises(ValueError, match=r"jumps \(1,\), this is .* with jumps \(1, 2\)"):
        buffer(5, jumps=(1, 2)).load_state_dict(state)


# --- pairs ------------------------------------------------------------------------------------------------


def test_pairs_are_of_one_trajectory_and_one_jump_apart() -> None:
    pairs = buffer(50, jumps=(2, 3))
    for number, (producer, rank, step) in enumerate(
        [("a", 0, 0), ("a", 1, 2), ("b", 0, 2), ("a", 0, 2), ("a", 0, 5), ("a", 0, 9), ("b", 0, 5)]
    ):
        pairs.add(snapshot(number, step, producer, rank))
    assert set(pairs_of(pairs.sample(3))) == {(0, 3), (3, 4), (2, 6)}
    assert len(pairs) == 3


def test_a_step_that_is_not_greater_begins_another_trajectory() -> None:
    pairs = buffer(50)
    for number, step in enumerate([0, 1, 2, 0, 1, 1, 2]):
        pairs.add(snapshot(number, step))
    assert set(pairs_of(pairs.sample(len(pairs)))) == {(0, 1), (1, 2), (3, 4), (5, 6)}


def test_a_jump_of_0_takes_both_from_one_snapshot() -> None:
    pairs = buffer(3, jumps=(0,))
    for number in range(3):
        pairs.add(snapshot(number, number))
    assert set(pairs_of(pairs.sample(3))) == {(0, 0), (1, 1), (2, 2)}
    for number in range(3, 6):
        pairs.add(snapshot(number, number))
    assert pairs.unseen == 3


def test_the_jump_can_be_an_input() -> None:
    pairs = Pairs(["u", "jump"], "u", [1, 2], snapshots=9, seed=0)
    for step in range(3):
        pairs.add(snapshot(step, step))
    for sample in pairs.sample(9):
        assert sample["jump"].dtype == np.float32 and sample["jump"].shape == (1,)
        assert sample["jump"] == sample["u_next"] - sample["u"]


def test_in_a_round_each_pair_is_drawn_once_and_new_ones_join_it() -> None:
    pairs = filled(7)
    assert len(pairs) == 6
    for _ in range(3):
        assert len(set(pairs_of(pairs.sample(6)))) == 6
    first = set(pairs_of(pairs.sample(2)))
    pairs = buffer(20)
    for step in range(5):
        pairs.add(snapshot(step, step))
    first = pairs_of(pairs.sample(2))
    pairs.add(snapshot(5, 5))
    rest = pairs_of(pairs.sample(3))
    assert sorted(first + rest) == [(i, i + 1) for i in range(5)]


def test_every_order_of_a_round_is_as_likely() -> None:
    orders: Counter[tuple[Pair, ...]] = Counter()
    pairs = filled(5)
    for _ in range(4800):
        orders[tuple(pairs_of(pairs.sample(4)))] += 1
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 1e-3


def test_any_of_the_spare_snapshots_is_dropped_equally_often() -> None:
    dropped: Counter[int] = Counter()
    for seed in range(2000):
        pairs = filled(6, seed=seed)
        pairs.sample(5)
        pairs.add(snapshot(6, 6))
        dropped.update(set(range(7)) - {int(fields["u"][0]) for fields in pairs.state_dict()["snapshots"]})
    assert set(dropped) == set(range(5))  # the last one is waiting for the new one
    assert chisquare(list(dropped.values())).pvalue > 1e-3


def test_trajectories_that_have_ended_do_not_fill_it_up() -> None:
    pairs = buffer(12)
    for producer in range(40):
        for step in range(3):
            while not pairs.room():
                pairs.sample(4)
            pairs.add(snapshot(3 * producer + step, step, f"p{producer}"))
    assert pairs.snapshots == 12
    assert len(pairs) >= 4


# --- properties -------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 4))
    | st.tuples(st.just("draw"), st.integers(1, 5), st.just(0)),
    max_size=60,
)


@given(
    actions=ACTIONS,
    snapshots=st.none() | st.integers(4, 9),
    nbytes=st.none() | st.integers(48, 90),
    jumps=st.sets(st.integers(0, 3), min_size=1, max_size=2).map(tuple),
)
def test_bounds_hold_and_no_pair_is_lost_before_it_was_drawn(
    actions: list[tuple[str, int, int]], snapshots: int | None, nbytes: int | None, jumps: tuple[int, ...]
) -> None:
    pairs = buffer(snapshots or (None if nbytes else 5), jumps=jumps, nbytes=nbytes)
    steps: dict[str, int] = {}
    never_drawn: set[Pair] = set()
    number = 0
    for action, amount, size in actions:
        if action == "draw":
            if len(pairs):
                never_drawn -= set(pairs_of(pairs.sample(amount)))
        else:
            step = steps.get(action, 0) + amount
            room, before = pairs.room(), pairs.state_dict()
            try:
                pairs.add(snapshot(number, step, action, size=size))
            except BufferFull:
                assert not room or 4 * size > before["largest"]
                assert repr(pairs.state_dict()) == repr(before)
                continue
            except BufferRefused:  # so many wait for a partner that no pair can be made
                assert not len(pairs) and repr(pairs.state_dict()) == repr(before)
                return
            steps[action] = step
            new = [pair for pair in held_pairs(pairs) if number in pair]
            assert all(second == number for _, second in new)
            never_drawn |= set(new)
            number += 1
        state = pairs.state_dict()
        assert pairs.nbytes == sum(fields["u"].nbytes for fields in state["snapshots"])
        assert pairs.nbytes <= (nbytes or pairs.nbytes)
        assert pairs.snapshots == len(state["snapshots"]) <= (snapshots or pairs.snapshots)
        assert never_drawn <= set(held_pairs(pairs))
        assert len(never_drawn) == pairs.unseen
        assert pairs.room() or pairs.ready(1)


def held_pairs(pairs: Pairs) -> list[Pair]:
    state = pairs.state_dict()
    numbers = {
        name[0]: int(fields["u"][0]) for name, fields in zip(state["names"], state["snapshots"], strict=True)
    }
    return [(numbers[first], numbers[second]) for first, second, _ in state["due"] + state["done"]]


def test_a_snapshot_for_which_no_pair_would_be_possible_is_refused_and_takes_no_other_ones_place() -> None:
    pairs = buffer(None, jumps=(3,), nbytes=52)
    for number, (producer, step, size) in enumerate(
        [("a", 1, 1), ("a", 3, 3), ("a", 5, 4), ("b", 1, 2), ("b", 2, 3)]
    ):
        pairs.add(snapshot(number, step, producer, size=size))
    before = repr(pairs.state_dict())
    with pytest.raises(BufferRefused, match="none of the 5 snapshots makes a pair"):
        pairs.add(snapshot(5, 7, "a", size=2))
    assert repr(pairs.state_dict()) == before


@given(count=st.integers(2, 30), drawn_before=st.integers(0, 30), batch=st.integers(1, 7))
def test_after_a_drain_every_pair_was_drawn_and_none_twice(count: int, drawn_before: int, batch: int) -> None:
    pairs = filled(count, watermark=count - 1)
    if drawn_before:
        pairs.sample(drawn_before)
    pairs.drain()
    drained: list[Pair] = []
    while not pairs.exhausted:
        assert pairs.ready(batch)
        drained += pairs_of(pairs.sample(batch))
    assert sorted(drained) == list(pairwise(range(count)))
    assert len(pairs) == pairs.unseen == 0 and not pairs.ready(1)


@given(before=st.integers(3, 40), after=st.integers(0, 40), drained=st.booleans())
def test_restored_pairs_go_on_as_if_nothing_had_happened(before: int, after: int, drained: bool) -> None:
    whole, resumed = buffer(10, jumps=(1, 2)), buffer(10, jumps=(1, 2), seed=99)

    def go_on(pairs: Pairs, start: int, stop: int) -> list[Pair]:
        drawn = []
        for i in range(start, stop):
            while not pairs.room():
                drawn += pairs_of(pairs.sample(3))
            pairs.add(snapshot(i, i // 2, "ab"[i % 2], size=1 + i % 3))
        return drawn

    go_on(whole, 0, before)
    if len(whole):
        whole.sample(2)
    if drained:
        whole.drain()
    resumed.load_state_dict(whole.state_dict())
    assert (resumed.nbytes, resumed.unseen, resumed.room()) == (whole.nbytes, whole.unseen, whole.room())
    assert go_on(whole, before, before + after) == go_on(resumed, before, before + after)
    assert repr(whole.state_dict()) == repr(resumed.state_dict())
    if len(whole):
        assert pairs_of(whole.sample(20)) == pairs_of(resumed.sample(20))


def test_pairs_survive_a_checkpoint_file(tmp_path: Path) -> None:
    whole, resumed = filled(20, jumps=(1, 3)), buffer(20, jumps=(1, 3), seed=99)
    whole.sample(5)
    checkpoint.save(tmp_path / "state.pt", whole.state_dict())
    state = checkpoint.load(tmp_path / "state.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert pairs_of(resumed.sample(10)) == pairs_of(whole.sample(10))
