"""The buffers: bounds, statistics, and going on from a saved state."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers import Fifo, Reservoir

BUFFERS = [Fifo, Reservoir]


@pytest.mark.parametrize("kind", BUFFERS)
@given(capacity=st.integers(1, 30), count=st.integers(0, 100))
def test_a_buffer_is_bounded_and_holds_what_was_added(kind: type, capacity: int, count: int) -> None:
    buffer = kind(capacity, seed=0)
    for i in range(count):
        buffer.add(i)
    held = buffer.state_dict()["samples"]
    assert len(buffer) == len(held) == min(capacity, count)
    assert len(set(held)) == len(held)
    assert set(held) <= set(range(count))
    assert buffer.seen == count


@given(capacity=st.integers(1, 30), count=st.integers(0, 100))
def test_a_fifo_holds_the_newest(capacity: int, count: int) -> None:
    fifo = Fifo(capacity, seed=0)
    for i in range(count):
        fifo.add(i)
    assert set(fifo.state_dict()["samples"]) == set(range(max(0, count - capacity), count))


@given(capacity=st.integers(1, 10), extra=st.integers(1, 20))
def test_a_reservoir_holds_every_sample_equally_often(capacity: int, extra: int) -> None:
    count, rounds = capacity + extra, 400
    held: Counter[int] = Counter()
    for seed in range(rounds):
        reservoir = Reservoir(capacity, seed)
        for i in range(count):
            reservoir.add(i)
        held.update(reservoir.state_dict()["samples"])
    share = capacity / count
    spread = (rounds * share * (1 - share)) ** 0.5
    assert all(abs(held[i] - rounds * share) < 6 * spread for i in range(count))


@pytest.mark.parametrize("kind", BUFFERS)
def test_draws_are_uniform_and_seeded(kind: type) -> None:
    first, second = kind(8, seed=3), kind(8, seed=3)
    for i in range(8):
        first.add(i)
        second.add(i)
    drawn = first.sample(8000)
    assert drawn == second.sample(8000)
    assert all(abs(count - 1000) < 200 for count in Counter(drawn).values())
    assert set(drawn) == set(range(8))


@pytest.mark.parametrize("kind", BUFFERS)
@given(before=st.integers(1, 40), after=st.integers(0, 40))
def test_a_restored_buffer_goes_on_as_if_nothing_had_happened(kind: type, before: int, after: int) -> None:
    whole, resumed = kind(10, seed=1), kind(10, seed=99)
    for i in range(before):
        whole.add(i)
    whole.sample(3)
    resumed.load_state_dict(whole.state_dict())
    for i in range(before, before + after):
        whole.add(i)
        resumed.add(i)
    assert whole.sample(20) == resumed.sample(20)
    assert whole.state_dict() == resumed.state_dict()


@pytest.mark.parametrize("kind", BUFFERS)
def test_what_makes_no_sense_is_refused(kind: type) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        kind(0, seed=0)
    with pytest.raises(ValueError, match="empty"):
        kind(3, seed=0).sample(1)
    with pytest.raises(ValueError, match="buffer of 3, this one holds 4"):
        kind(4, seed=0).load_state_dict(kind(3, seed=0).state_dict())
