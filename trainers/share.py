"""Which snapshots of a stream are one rank's, where several train together: each is exactly one rank's.

Held-out snapshots are rank 0's, which judges. Of the others, the i-th is rank i mod world's where one
snapshot is a sample; where two of a trajectory are, trajectories are not divided, so that the two come
together: that of the k-th producer's rank r is rank (k + r) mod world's. Ranks come to the same answer
without asking each other, for all see the same list of announcements.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence

from sim_clients import KeyMissing
from sim_clients.keys import SnapshotName

Names = Callable[[int], list[SnapshotName]]
"""Gives the names of all that was announced from a position on."""


class Share:
    """The share of one rank.

    Args:
        rank, world: which rank, of how many.
        producers: whose snapshots are learned from, in an order that is the same for all ranks.
        held_out: whose snapshots are rank 0's.
        together: a trajectory is not divided.
    """

    def __init__(
        self, rank: int, world: int, producers: Sequence[str], held_out: Sequence[str], *, together: bool
    ) -> None:
        self._rank = rank
        self._world = world
        self._places = {producer: place for place, producer in enumerate(producers)}
        self._held_out = frozenset(held_out)
        self._together = together
        self.rewind()

    def is_mine(self, position: int, names: Names) -> bool:
        """Tell whether a snapshot is this rank's; asked in ascending order, but for a `rewind`.

        Raises:
            KeyMissing: there are not so many names: the list has become shorter since it was asked how long.
        """
        while self._next < position:
            name = self._name(self._next, names)
            self._names.popleft()
            self._next += 1
            self._counted += name.producer not in self._held_out
        return self._owner(self._name(position, names)) == self._rank

    def owns_trajectory(self, producer: str, rank: int) -> bool:
        """Tell whether what a producer's rank puts is this rank's, where trajectories are not divided."""
        return self._owner_of_trajectory(producer, rank) == self._rank

    def rewind(self) -> None:
        """Begin anew: the list of announcements is another, or a position is to be asked for again."""
        self._names: deque[SnapshotName] = deque()  # from the position `_next` on
        self._next = 0
        self._counted = 0  # snapshots to learn from, before `_next`

    def _owner(self, name: SnapshotName) -> int:
        """Return whose the snapshot at `_next` is."""
        if name.producer in self._held_out:
            return 0
        if not self._together:
            return self._counted % self._world
        return self._owner_of_trajectory(name.producer, name.rank)

    def _owner_of_trajectory(self, producer: str, rank: int) -> int:
        if producer in self._held_out:
            return 0
        place = self._places.get(producer)
        if place is None:  # nobody has named it
            place = zlib.crc32(producer.encode())
        return (place + rank) % self._world

    def _name(self, position: int, names: Names) -> SnapshotName:
        while position - self._next >= len(self._names):
            more = names(self._next + len(self._names))
            if not more:
                raise KeyMissing(f"announcement {position}")
            self._names.extend(more)
        return self._names[position - self._next]
