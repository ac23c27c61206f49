"""Where a reader is in the list of a stream's announcements: what it reads next, and what it has read.

No database: whoever asks one tells what the list is. It may come back another, shorter or in the place of a
lost one; so some names are kept of what was read, its marks, by which the list is known again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from typing import Any

from trainers.share import Names, Share

MARKS = 64
"""So many names of snapshots that were read are kept at most, those long ago the fewest."""


class Cursor:
    """The place of one reader.

    Args:
        position: of the first announcement to read.
        share: which of them are read, where several readers divide the stream; all by default.
    """

    def __init__(self, position: int = 0, share: Share | None = None) -> None:
        self._position = position
        self._share = share
        self._planned = position  # up to here it is known which are to be read
        self._plan: deque[int] = deque()  # those, from the position on
        self._marks: list[tuple[int, str]] = []  # positions that were read, and what was announced there
        self._ahead: set[int] = set()  # read after the last checkpoint's position, before it by others too

    @property
    def position(self) -> int:
        """How many announcements have been read, or left to those who share the stream."""
        return self._position

    @property
    def oldest(self) -> int | None:
        """From where on names tell whether a list is the one that was read; None: nothing was read of it."""
        return self._marks[0][0] if self._marks else None

    def next(self, count: int, announced: int, names: Names) -> list[int]:
        """Return the next positions that are to be read, at most so many; pass over others before them.

        Args:
            announced: how many announcements there are.
            names: asked where the stream is divided; raises what `Share.is_mine` does.
        """
        while len(self._plan) < count and self._planned < announced:
            if self._is_to_be_read(self._planned, names):
                self._plan.append(self._planned)
            self._planned += 1
        self._go_on()
        return list(islice(self._plan, count))

    def done(self, name: str) -> None:
        """Take note that the next position was read, or is to be passed over for good.

        Args:
            name: that was announced there.
        """
        position = self._plan.popleft()
        self._marks.append((position, name))
        if len(self._marks) > MARKS:
            del self._marks[1:-1:2]
        if self._share is not None:
            self._ahead.add(position)
        self._go_on()

    def skip(self, position: int) -> int:
        """Pass over what is before a position, and over the next one in any case; return how many."""
        before, position = self._position, max(self._position + 1, position)
        while self._plan and self._plan[0] < position:
            self._plan.popleft()
        self._planned = max(self._planned, position)
        self._go_on()
        return position - before

    def found_in(self, names: Sequence[str], announced: int) -> int:
        """Return the last position up to which a list is the one that was read.

        Where the list was lost and another has taken its place, that is its beginning.

        Args:
            names: of the list, from `oldest` on; none where that is None.
            announced: how many announcements there are.
        """
        oldest = self.oldest or 0
        there = [(place, name) for place, name in self._marks if place - oldest < len(names)]
        same = [place for place, _ in takewhile(lambda mark: names[mark[0] - oldest] == mark[1], there)]
        if len(same) < len(there):
            return same[-1] + 1 if same else 0
        return min(self._position, announced)

    def go_back(self, position: int) -> None:
        """Begin again from an earlier position of a list that is another after it."""
        self._position = position
        self._ahead = {place for place in self._ahead if place < position}
        self._marks = [mark for mark in self._marks if mark[0] < position]
        self.plan_anew()

    def plan_anew(self) -> None:
        """Forget what follows: the list of announcements is another."""
        self._planned = self._position
        self._plan.clear()
        if self._share is not None:
            self._share.rewind()

    def let_go(self, position: int) -> None:
        """Forget what was read before a position that all who share the stream have passed."""
        self._ahead = {place for place in self._ahead if place >= position}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on from here."""
        marks = [list(mark) for mark in self._marks]
        return {"cursor": self._position, "ahead": sorted(self._ahead), "marks": marks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._position = state["cursor"]
        self._ahead = set(state["ahead"])
        self._marks = [(place, name) for place, name in state["marks"]]
        self.plan_anew()

    def _go_on(self) -> None:
        self._position = self._plan[0] if self._plan else self._planned

    def _is_to_be_read(self, position: int, names: Names) -> bool:
        if position in self._ahead:
            return False
        return self._share is None or self._share.is_mine(position, names)
