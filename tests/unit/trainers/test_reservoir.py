"""Fifo, Firo and Reservoir: bounds, that nothing is lost, statistics, and going on from a saved state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from trainers import (
    BufferEmpty,
    BufferFull,
    BufferRefused,
    Fifo,
    Firo,
    Reservoir,
    SampleTooLarge,
    buffer_named,
    checkpoint,
)
from trainers.samples import Sample, nbytes_of

KINDS = [Fifo, Firo, Reservoir]
UNLIKELY = 1e-3
"""A chi-square test fails below this; the seeds are fixed, so that each test passes always or never."""

Kind = Callable[..., Any]
every_kind = pytest.mark.parametrize("kind", KINDS)


def made(number: int, size: int = 1) -> Sample:
    """A sample of `4 * size` bytes that says which it is."""
    return {"number": np.array(number, np.int32), "x": np.zeros(size - 1, np.float32)}


def numbers(samples: Iterable[Sample]) -> list[int]:
    return [int(sample["number"]) for sample in samples]


def held(buffer: Any) -> list[int]:
    return numbers(buffer.state_dict()["samples"])


def filled(kind: Kind, count: int, **settings: Any) -> Any:
    buffer = kind(**{"samples": count, "seed": 5} | settings)
    for i in range(count):
        buffer.add(made(i))
    return buffer


# --- what makes no sense ----------------------------------------------------------------------------------


@every_kind
def test_settings_without_sense_are_refused(kind: Kind) -> None:
    with pytest.raises(BufferRefused, match="bound is None"):
        kind(seed=0)
    with pytest.raises(BufferRefused, match="samples is 0"):
        kind(0, seed=0)
    with pytest.raises(BufferRefused, match="watermark is 4, and must be at most its bound of 3 samples"):
        kind(3, watermark=4, seed=0)


@every_kind
def test_a_watermark_above_a_bound_in_bytes_is_refused_when_the_size_is_known(kind: Kind) -> None:
    buffer = kind(nbytes=100, watermark=3, seed=0)
    with pytest.raises(BufferRefused, match="100, and must be at least 120, for 3 samples of 40 bytes"):
        buffer.add(made(0, 10))
    assert len(buffer) == 0


@every_kind
def test_a_sample_larger_than_the_bound_is_refused(kind: Kind) -> None:
    buffer = kind(nbytes=100, seed=0)
    buffer.add(made(1, 20))
    with pytest.raises(SampleTooLarge, match=r"104 bytes .* 100 bytes"):
        buffer.add(made(2, 26))
    assert held(buffer) == [1]


@every_kind
def test_a_draw_of_nothing_is_refused(kind: Kind) -> None:
    with pytest.raises(BufferEmpty, match="empty"):
        kind(3, seed=0).sample(1)
    with pytest.raises(ValueError, match="at least one sample, 0 were"):
        filled(kind, 3).sample(0)


@every_kind
def test_a_full_buffer_refuses_what_would_lose_an_unseen_sample(kind: Kind) -> None:
    buffer = filled(kind, 3)
    assert buffer.room() == 0
    with pytest.raises(BufferFull, match=r"bound is 3 samples, and none of the 3 .*ask room\(\)"):
        buffer.add(made(9))
    assert sorted(held(buffer)) == [0, 1, 2]
    buffer.sample(1)
    assert buffer.room() == 1
    buffer.add(made(9))
    assert 9 in held(buffer)


@every_kind
def test_the_state_of_another_buffer_is_refused(kind: Kind) -> None:
    state = filled(kind, 3).state_dict()
    with pytest.raises(ValueError, match=f"of a {kind.__name__} of 3 samples, this is .* of 4 samples"):
        kind(4, seed=0).load_state_dict(state)
    other = Fifo if kind is not Fifo else Firo
    with pytest.raises(ValueError, match=f"this is a {other.__name__} of 3 samples"):
        other(3, seed=0).load_state_dict(state)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(BufferRefused, match="name is 'lifo', and must be one of fifo, firo, reservoir"):
        buffer_named("lifo", 3, seed=0)
    made_by_name = [type(buffer_named(name, 3, seed=0)) for name in ("fifo", "firo", "reservoir")]
    assert made_by_name == KINDS


# --- properties -------------------------------------------------------------------------------------------

ACTIONS = st.lists(st.tuples(st.sampled_from(["add", "draw"]), st.integers(1, 6)))


@every_kind
@given(actions=ACTIONS, samples=st.none() | st.integers(1, 6), nbytes=st.none() | st.integers(24, 60))
def test_bounds_hold_bytes_are_exact_and_no_unseen_sample_is_ever_lost(
    kind: Kind, actions: list[tuple[str, int]], samples: int | None, nbytes: int | None
) -> None:
    buffer = kind(samples or (None if nbytes else 3), nbytes=nbytes, seed=1)
    never_drawn: set[int] = set()
    added = 0
    for action, amount in actions:
        if action == "add":
            room, before = buffer.room(), buffer.state_dict()
            try:
                buffer.add(made(added, amount))
                never_drawn.add(added)
                added += 1
            except BufferFull:
                assert not room or 4 * amount > before["largest"]
                assert held(buffer) == numbers(before["samples"])
        elif len(buffer):
            never_drawn -= set(numbers(buffer.sample(amount)))
        inside = buffer.state_dict()["samples"]
        assert buffer.nbytes == sum(map(nbytes_of, inside)) <= (nbytes or buffer.nbytes)
        assert len(buffer) == len(inside) <= (samples or len(inside))
        assert never_drawn <= set(held(buffer))
        assert buffer.unseen == len(never_drawn)
        assert buffer.added == added
        assert buffer.ready(1) or buffer.room()


@every_kind
@given(count=st.integers(1, 40), drawn_before=st.integers(0, 20), batch=st.integers(1, 7))
def test_after_a_drain_every_sample_was_seen_and_none_is_drawn_twice(
    kind: Kind, count: int, drawn_before: int, batch: int
) -> None:
    buffer = filled(kind, count, watermark=count)
    seen = numbers(buffer.sample(drawn_before)) if drawn_before else []
    buffer.drain()
    drained: list[int] = []
    while not buffer.exhausted:
        assert buffer.ready(batch)
        drained += numbers(buffer.sample(batch))
    assert len(set(drained)) == len(drained)
    assert set(seen) | set(drained) == set(range(count))
    assert buffer.nbytes == buffer.unseen == len(buffer) == 0
    assert not buffer.ready(batch)


@every_kind
@given(before=st.integers(1, 40), after=st.integers(0, 40), drained=st.booleans())
def test_a_restored_buffer_goes_on_as_if_nothing_had_happened(
    kind: Kind, before: int, after: int, drained: bool
) -> None:
    whole, resumed = kind(10, seed=1), kind(10, seed=99)

    def go_on(buffer: Any, start: int, stop: int) -> list[int]:
        drawn = []
        for i in range(start, stop):
            if not buffer.room():
                drawn += numbers(buffer.sample(4))
            buffer.add(made(i, 1 + i % 3))
        return drawn

    go_on(whole, 0, before)
    whole.sample(1)
    if drained:
        whole.drain()
    resumed.load_state_dict(whole.state_dict())
    assert (resumed.nbytes, resumed.unseen, resumed.room()) == (whole.nbytes, whole.unseen, whole.room())
    assert go_on(whole, before, before + after) == go_on(resumed, before, before + after)
    assert repr(whole.state_dict()) == repr(resumed.state_dict())
    if len(whole):
        assert numbers(whole.sample(20)) == numbers(resumed.sample(20))


@every_kind
def test_a_buffer_survives_a_checkpoint_file(kind: Kind, tmp_path: Path) -> None:
    whole, resumed = filled(kind, 20), kind(20, seed=99)
    whole.sample(5)
    checkpoint.save(tmp_path / "state.pt", whole.state_dict())
    state = checkpoint.load(tmp_path / "state.pt")
    assert state is not None
    resumed.load_state_dict(state)
    assert numbers(resumed.sample(10)) == numbers(whole.sample(10))


@every_kind
def test_an_addition_ends_a_drain(kind: Kind) -> None:
    buffer = filled(kind, 3, samples=6, watermark=4)
    buffer.drain()
    assert buffer.ready(1)
    buffer.add(made(7))
    assert buffer.ready(1) == (kind is not Firo)  # which keeps its watermark
    assert not buffer.exhausted


# --- when to draw -----------------------------------------------------------------------------------------


def ready_at(kind: Kind, count: int, **settings: Any) -> int:
    """Return with how many samples a batch can first be drawn."""
    buffer = kind(seed=0, **settings)
    while not buffer.ready(count):
        buffer.add(made(0))
    return len(buffer)


def test_a_watermark_and_a_batch_are_waited_for() -> None:
    assert [ready_at(kind, 4, samples=50, watermark=10) for kind in KINDS] == [10, 14, 10]
    assert [ready_at(kind, 4, samples=50) for kind in KINDS] == [4, 5, 1]


@every_kind
def test_a_full_buffer_is_ready_for_whatever_batch(kind: Kind) -> None:
    assert ready_at(kind, 100, samples=7, watermark=7) == 7
    assert ready_at(kind, 100, nbytes=31, watermark=7) == 7


def test_a_fifo_waits_for_its_watermark_once_and_a_firo_always() -> None:
    fifo, firo = (filled(kind, 20, watermark=10) for kind in (Fifo, Firo))
    for buffer in (fifo, firo):
        buffer.sample(8)
        assert buffer.ready(2)
        buffer.sample(2)
        assert len(buffer) == 10
    assert fifo.ready(2)
    assert not firo.ready(2)


# --- statistics -------------------------------------------------------------------------------------------


def check_uniform(counts: Iterable[int]) -> None:
    assert chisquare(list(counts)).pvalue > UNLIKELY


def test_the_uniformity_test_finds_what_is_not_uniform() -> None:
    with pytest.raises(AssertionError):
        check_uniform([1100, 1000, 1000, 1000, 900])


@given(count=st.integers(1, 30), batch=st.integers(1, 9))
def test_a_fifo_draws_in_the_order_of_arrival(count: int, batch: int) -> None:
    fifo = filled(Fifo, count)
    drawn: list[int] = []
    while len(fifo):
        drawn += numbers(fifo.sample(batch))
    assert drawn == list(range(count))


@pytest.mark.parametrize("batch", [1, 4])
def test_every_order_of_a_firo_is_as_likely(batch: int) -> None:
    orders: Counter[tuple[int, ...]] = Counter()
    firo = Firo(4, seed=11)
    for _ in range(4800):
        for i in range(4):
            firo.add(made(i))
        orders[tuple(number for _ in range(4 // batch) for number in numbers(firo.sample(batch)))] += 1
    assert len(orders) == 24
    check_uniform(orders.values())


@pytest.mark.parametrize("batch", [1, 8, 50])
def test_a_reservoir_draws_seen_and_unseen_alike(batch: int) -> None:
    drawn: Counter[int] = Counter()
    for seed in range(1000):
        reservoir = filled(Reservoir, 10, seed=seed)
        reservoir.sample(5)
        for _ in range(max(1, 24 // batch)):
            drawn.update(numbers(reservoir.sample(batch)))
    assert set(drawn) == set(range(10))
    check_uniform(drawn.values())


def test_draws_of_a_reservoir_do_not_depend_on_each_other() -> None:
    reservoir = filled(Reservoir, 5, seed=3)
    couples: Counter[tuple[int, int]] = Counter()
    for _ in range(10_000):
        one, other = numbers(reservoir.sample(2))
        couples[one, other] += 1
    assert len(couples) == 25
    check_uniform(couples.values())


def test_a_reservoir_drops_any_of_those_it_has_drawn_equally_often() -> None:
    dropped: Counter[int] = Counter()
    for seed in range(3000):
        reservoir = filled(Reservoir, 6, seed=seed)
        while reservoir.unseen:
            reservoir.sample(3)
        reservoir.add(made(6))
        dropped.update(set(range(6)) - set(held(reservoir)))
    assert sum(dropped.values()) == 3000
    check_uniform(dropped.values())


def test_a_drained_reservoir_comes_out_in_any_order() -> None:
    first: Counter[int] = Counter()
    last: Counter[int] = Counter()
    for seed in range(3000):
        reservoir = filled(Reservoir, 6, seed=seed)
        reservoir.sample(2)
        reservoir.drain()
        order = numbers(reservoir.sample(6))
        first[order[0]] += 1
        last[order[-1]] += 1
    check_uniform(first.values())
    check_uniform(last.values())


@every_kind
def test_the_seed_decides_every_draw(kind: Kind) -> None:
    def drawn(seed: int) -> list[int]:
        return numbers(filled(kind, 50, seed=seed).sample(40))

    assert drawn(3) == drawn(3)
    assert (drawn(3) == drawn(4)) == (kind is Fifo)


@pytest.mark.parametrize("kind", [Fifo, Firo])
def test_what_was_not_drawn_in_its_round_is_kept_in_other_memory(kind: Kind) -> None:
    buffer = kind(20, seed=0)
    settled: list[int] = []

    def own(sample: Sample) -> Sample:
        settled.extend(numbers([sample]))
        return {name: array.copy() for name, array in sample.items()}

    came = [made(number) for number in range(6)]
    for sample in came[:4]:
        buffer.add(sample)
    drawn = numbers(buffer.sample(3))
    buffer.settle(own)
    assert sorted(settled + drawn) == [0, 1, 2, 3]
    for sample in came[4:]:
        buffer.add(sample)
    buffer.settle(own)
    assert settled[1:] == [4, 5]
    buffer.drain()
    rest = buffer.sample(6)
    assert sorted(numbers(rest)) == sorted(settled)
    arrays = [id(array) for sample in came for array in sample.values()]
    assert not any(id(array) in arrays for sample in rest for array in sample.values())
