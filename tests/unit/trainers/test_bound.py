"""Bounds of buffers: what makes no sense is refused, and what fits is told exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers import BufferRefused, SampleTooLarge
from trainers.bound import Bound


@pytest.mark.parametrize(
    ("count", "nbytes", "says"),
    [
        (None, None, "bound is None, and must be a number of samples, of bytes, or both"),
        (0, None, "samples is 0, and must be at least 1"),
        (None, -1, "nbytes is -1, and must be at least 1"),
    ],
)
def test_a_bound_without_sense_is_refused(count: int | None, nbytes: int | None, says: str) -> None:
    with pytest.raises(BufferRefused, match=says):
        Bound(count, nbytes)


def test_a_watermark_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(BufferRefused, match="watermark is 5, and must be at most its bound of 4 samples"):
        Bound(4, None).check_watermark(5)
    with pytest.raises(BufferRefused, match="watermark is 0"):
        Bound(4, None).check_watermark(0)


def test_a_size_that_cannot_be_held_is_refused() -> None:
    with pytest.raises(SampleTooLarge, match="101 bytes cannot be held in a buffer of 100 bytes") as caught:
        Bound(None, 100).check_size(101, 1)
    assert (caught.value.nbytes, caught.value.bound) == (101, 100)
    with pytest.raises(BufferRefused, match="in bytes is 100, and must be at least 153, for 3 samples of 51"):
        Bound(None, 100).check_size(51, 3)
    Bound(None, 100).check_size(50, 2)
    Bound(4, None).check_size(10**9, 4)


def test_a_bound_reads_as_it_is() -> None:
    assert [str(bound) for bound in (Bound(4, None), Bound(None, 9), Bound(4, 9, "snapshots"))] == [
        "4 samples",
        "9 bytes",
        "4 snapshots and 9 bytes",
    ]


@given(
    count=st.none() | st.integers(1, 30),
    nbytes=st.none() | st.integers(1, 300),
    held=st.lists(st.integers(0, 20), max_size=30),
    largest=st.integers(0, 20),
    together=st.integers(1, 3),
)
def test_the_room_is_what_fits_and_no_more(
    count: int | None, nbytes: int | None, held: list[int], largest: int, together: int
) -> None:
    if count is None and nbytes is None:
        return
    bound = Bound(count, nbytes)
    if not bound.fits(len(held), sum(held)):
        return
    room = bound.room(len(held), sum(held), largest, together=together)

    def fits(additions: int) -> bool:
        more = additions * together
        return bound.fits(len(held) + more, sum(held) + more * largest)

    assert fits(room)
    assert not fits(room + 1) or (count is None and largest == 0 and room == 1)
