"""The place of a reader in a list: what comes next, and how far a list is the one that was read."""

from __future__ import annotations

import pytest

from sim_clients.keys import SnapshotName
from trainers.cursor import MARKS, Cursor
from trainers.share import Share

NAMES = [SnapshotName("a", 0, step) for step in range(1000)]


def names(first: int) -> list[SnapshotName]:
    return NAMES[first:]


def read(cursor: Cursor, count: int, announced: int = 1000) -> list[int]:
    """Read so many; return their positions."""
    positions = cursor.next(count, announced, names)
    for position in positions:
        cursor.done(str(NAMES[position]))
    return positions


def texts(first: int, last: int) -> list[str]:
    return [str(name) for name in NAMES[first:last]]


def of_two(rank: int) -> Share:
    return Share(rank, 2, ("a",), ("b",), together=False)


def test_positions_come_in_order_and_each_once() -> None:
    cursor = Cursor(2)
    assert read(cursor, 3, announced=6) == [2, 3, 4]
    assert read(cursor, 3, announced=6) == [5]
    assert read(cursor, 3, announced=6) == []
    assert cursor.position == 6


def test_what_is_not_read_comes_again() -> None:
    cursor = Cursor()
    assert cursor.next(2, 5, names) == cursor.next(2, 5, names) == [0, 1]
    cursor.done("a.0.0")
    assert cursor.position == 1
    assert cursor.next(2, 5, names) == [1, 2]


def test_of_a_divided_list_each_is_read_by_one_and_passed_over_by_the_other() -> None:
    one, other = Cursor(0, of_two(0)), Cursor(0, of_two(1))
    assert read(one, 9, announced=5) == [0, 2, 4]
    assert read(other, 9, announced=5) == [1, 3]
    assert one.position == other.position == 5


def test_what_was_read_ahead_of_others_is_not_read_again() -> None:
    before = Cursor(0, of_two(0))
    read(before, 3)
    before.let_go(2)
    state = before.state_dict()
    assert state["ahead"] == [2, 4]
    alone = Cursor()
    alone.load_state_dict({**state, "cursor": 1})  # where the slowest was
    assert read(alone, 3) == [1, 3, 5]


def test_what_is_gone_is_passed_over_and_counted() -> None:
    cursor = Cursor()
    assert cursor.next(4, 10, names) == [0, 1, 2, 3]
    assert cursor.skip(3) == 3
    assert cursor.position == 3
    assert cursor.skip(0) == 1  # the next one in any case
    assert read(cursor, 2) == [4, 5]
    assert cursor.skip(100) == 94
    assert cursor.position == 100


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (texts(0, 9), 6),
        (texts(0, 6), 6),
        (texts(0, 4), 4),  # it came back older
        ([], 0),
        ([*texts(0, 4), *texts(100, 109)], 4),  # and has grown
        (texts(100, 109), 0),  # another has taken its place
    ],
)
def test_a_list_is_known_again_as_far_as_it_is_the_one_that_was_read(there: list[str], found: int) -> None:
    cursor = Cursor()
    assert cursor.oldest is None
    read(cursor, 6)
    assert cursor.oldest == 0
    assert cursor.found_in(there, len(there)) == found
    cursor.go_back(found)
    assert cursor.position == found
    assert read(cursor, 2) == [found, found + 1]


def test_few_marks_are_kept_of_what_was_read_long_ago() -> None:
    cursor = Cursor()
    read(cursor, 1000)
    marks = [place for place, _ in cursor.state_dict()["marks"]]
    assert len(marks) <= MARKS and (marks[0], marks[-1]) == (0, 999)
    assert sum(place >= 500 for place in marks) > 2 * sum(place < 500 for place in marks)
    other = [*texts(0, 990), *texts(0, 10)]
    assert cursor.found_in(other, 1000) == max(place for place in marks if place < 990) + 1


def test_a_state_goes_on_where_it_was_taken() -> None:
    cursor = Cursor()
    read(cursor, 7)
    later = Cursor()
    later.load_state_dict(cursor.state_dict())
    assert later.position == 7 and later.oldest == 0
    assert later.state_dict() == cursor.state_dict()
    assert read(later, 2) == [7, 8]
