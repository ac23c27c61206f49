"""Memory of arrays that arrive is used again, and never while somebody still has it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_clients import native_memory
from sim_clients.native_memory import SMALLEST, Memory

FLOATS = np.dtype(np.float64)
LARGE = (SMALLEST // 8,)


def place(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_dropped_array_gives_its_memory_to_the_next() -> None:
    memory = Memory()
    array = memory.array(LARGE, FLOATS)
    before = place(array)
    del array
    assert place(memory.array((4, SMALLEST // 32), FLOATS)) == before


def test_a_view_keeps_the_memory() -> None:
    memory = Memory()
    array = memory.array(LARGE, FLOATS)
    array[:] = 7
    view = array[10:20].reshape(2, 5).T
    del array
    other = memory.array(LARGE, FLOATS)
    other[:] = 1
    assert not np.shares_memory(view, other)
    np.testing.assert_array_equal(view, np.full((5, 2), 7.0))


def test_small_arrays_are_ordinary_ones() -> None:
    assert Memory().array((3, 4), FLOATS).flags.owndata


@pytest.mark.parametrize("shape", [LARGE, (2, SMALLEST // 16)])
def test_arrays_are_writable_aligned_and_contiguous(shape: tuple[int, ...]) -> None:
    array = Memory().array(shape, FLOATS)
    assert (array.shape, array.dtype) == (shape, FLOATS)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned


def test_no_more_is_kept_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_memory, "KEPT", 3 * SMALLEST)
    memory = Memory()
    arrays = [memory.array(LARGE, FLOATS) for _ in range(8)]
    del arrays
    kept = sum(size * len(blocks) for size, blocks in memory._free.items())
    assert 0 < kept <= 3 * SMALLEST
    too_large = memory.array((4 * SMALLEST // 8,), FLOATS)
    del too_large
    assert 4 * SMALLEST not in memory._free


def test_an_array_outlives_what_it_came_from() -> None:
    memory = Memory()
    array = memory.array(LARGE, FLOATS)
    del memory
    array[:] = 3
    assert array.sum() == 3 * array.size


def test_threads_may_drop_arrays_while_others_are_made() -> None:
    memory = Memory()
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            array = memory.array(LARGE, FLOATS)
            array[:] = number
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=40))
def test_no_two_living_arrays_share_memory(steps: list[tuple[int, int]]) -> None:
    memory, living = Memory(), {}
    for slot, size in steps:
        living[slot] = memory.array((size * SMALLEST // 8,), FLOATS)
        living[slot][:] = slot
        assert all((array == own).all() for own, array in living.items())
