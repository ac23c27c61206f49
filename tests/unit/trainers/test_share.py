"""Each snapshot is exactly one rank's, whatever is announced in which order."""

from __future__ import annotations

import random

import pytest

from sim_clients import KeyMissing
from sim_clients.keys import SnapshotName
from trainers.share import Share

PRODUCERS = ("a", "b", "c")


def announced(count: int, producers: str = "abchx") -> list[SnapshotName]:
    generator = random.Random(0)
    steps = dict.fromkeys(producers, 0)
    names = []
    for _ in range(count):
        producer = generator.choice(producers)
        names.append(SnapshotName(producer, generator.randrange(2), steps[producer]))
        steps[producer] += 1
    return names


def owners(names: list[SnapshotName], world: int, *, together: bool) -> list[int]:
    """Return the rank that each position is of, as all ranks find out at their own pace."""
    found: list[list[int]] = [[] for _ in names]
    for rank in range(world):
        share = Share(rank, world, PRODUCERS, ("h",), together=together)
        for position in range(rank, len(names), 1 + rank % 2):  # some skip what was dropped
            if share.is_mine(position, lambda first: names[first : first + 7]):
                found[position].append(rank)
    assert all(len(each) <= 1 for each in found)
    return [each[0] if each else -1 for each in found]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_no_position_is_of_two_ranks_and_held_out_ones_are_of_rank_0(world: int, together: bool) -> None:
    names = announced(200)
    for name, owner in zip(names, owners(names, world, together=together), strict=True):
        if name.producer == "h":
            assert owner == 0


@pytest.mark.parametrize("together", [False, True])
def test_every_position_is_of_some_rank(together: bool) -> None:
    names = announced(100)
    shares = [Share(rank, 3, PRODUCERS, ("h",), together=together) for rank in range(3)]
    for position in range(100):
        assert sum(share.is_mine(position, lambda first: names[first:]) for share in shares) == 1


def test_snapshots_are_dealt_evenly_also_where_held_out_ones_come_between() -> None:
    names = announced(0)
    for step in range(30):
        names += [SnapshotName("a", 0, step), SnapshotName("h", 0, step)]
    share = Share(1, 2, PRODUCERS, ("h",), together=False)
    assert sum(share.is_mine(place, lambda first: names[first:]) for place in range(60)) == 15


def test_trajectories_are_dealt_evenly_and_not_divided() -> None:
    shares = [Share(rank, 2, tuple("abcdef"), (), together=True) for rank in range(2)]
    assert [sum(share.owns_trajectory(name, 0) for name in "abcdef") for share in shares] == [3, 3]
    assert [sum(share.owns_trajectory("a", rank) for rank in range(8)) for share in shares] == [4, 4]


def test_a_list_that_came_back_shorter_is_counted_anew() -> None:
    old, new = announced(20, "ab"), announced(20, "ha")
    share = Share(0, 2, PRODUCERS, ("h",), together=False)
    share.is_mine(15, lambda first: old[first:])
    share.rewind()
    fresh = Share(0, 2, PRODUCERS, ("h",), together=False)
    for position in range(10, 20):
        found = share.is_mine(position, lambda first: new[first:])
        assert found == fresh.is_mine(position, lambda first: new[first:])


def test_a_list_that_has_become_shorter_since_it_was_counted_is_told() -> None:
    names = announced(10, "ab")
    share = Share(0, 2, PRODUCERS, ("h",), together=False)
    share.is_mine(9, lambda first: names[first:])
    with pytest.raises(KeyMissing, match="announcement 10"):
        share.is_mine(12, lambda first: names[first : first + 1])
