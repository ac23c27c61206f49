"""What the buffer Pairs is made of: snapshots, their pairs, and bags of either."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from trainers.samples import Sample, nbytes_of

Rank = tuple[str, int]
"""A producer's name and the number of one of its ranks."""


@dataclass(eq=False)
class Held:
    """A snapshot: `number` were added before it, and `unseen` of its pairs have never been drawn."""

    number: int
    rank: Rank
    step: int
    fields: Sample
    pairs: list[Pair] = field(default_factory=list)
    unseen: int = 0
    place: int = -1

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return nbytes_of(self.fields)


@dataclass(eq=False)
class Pair:
    """Two snapshots of one trajectory, or one with itself; whether a sample was ever made of them."""

    first: Held
    second: Held
    seen: bool = False
    place: int = -1

    @property
    def ends(self) -> tuple[Held, ...]:
        """The two snapshots, or the one."""
        return (self.first,) if self.first is self.second else (self.first, self.second)


class Placed(Protocol):
    """What knows its place in the bag that it is in; it is in one at a time."""

    place: int


Thing = TypeVar("Thing", bound=Placed)


class Bag(Generic[Thing]):
    """Things that are put in, taken out and drawn in a time that does not depend on how many there are.

    They are in a list without an order: the last one comes to the place of one that is taken out.
    """

    def __init__(self) -> None:
        self._things: list[Thing] = []

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._things)

    def __contains__(self, thing: Thing) -> bool:
        return thing.place < len(self._things) and self._things[thing.place] is thing

    def put(self, thing: Thing) -> None:
        """Put a thing in, which is in no bag."""
        thing.place = len(self._things)
        self._things.append(thing)

    def take(self, thing: Thing) -> None:
        """Take out a thing that is in it."""
        last = self._things.pop()
        if last is not thing:
            self._things[thing.place], last.place = last, thing.place

    def drawn(self, generator: np.random.Generator) -> Thing:
        """Take out one of them, each as likely as any other."""
        thing = self._things[int(generator.integers(len(self._things)))]
        self.take(thing)
        return thing
