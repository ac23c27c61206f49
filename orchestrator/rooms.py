"""What is left of each host beside the programs that run already. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.hosts import Host, Inventory
from orchestrator.placement import Placement
from orchestrator.resources import Resources

ROUNDING_GB = 1e-9


@dataclass(frozen=True)
class Room:
    """What is left of one host.

    Attributes:
        host: the host.
        programs: the placements of those that are there.
        open: cores that nobody has for himself.
        free: those of them that nobody is bound to.
        untouched: those of them that nobody runs on, not even a program that shares.
        gpus: that nobody uses.
        memory_gb: that nobody asked for; infinite where nobody knows how much there is.
    """

    host: Host
    programs: tuple[Placement, ...]
    open: tuple[int, ...]
    free: tuple[int, ...]
    untouched: tuple[int, ...]
    gpus: tuple[int, ...]
    memory_gb: float

    @property
    def load(self) -> float:
        """How many ranks there are for each core that a newcomer may run on."""
        ranks = sum(
            1
            for program in self.programs
            if not program.exclusive
            for _ in program.holders_on(self.host.name)
        )
        return ranks / len(self.open) if self.open else math.inf

    def cores_for(self, resources: Resources) -> tuple[int, ...]:
        """Return the cores that such a program can have for itself."""
        return self.untouched if resources.exclusive else self.free

    def ranks_bound(self, resources: Resources) -> int:
        """Return how many ranks of such a program find cores of their own here, and all else they need."""
        left = len(self.cores_for(resources)) - (resources.beside.cores if resources.beside else 0)
        return min(max(0, left) // resources.rank_cores, self.ranks_shared(resources))

    def ranks_shared(self, resources: Resources) -> int:
        """Return how many ranks of such a program find what they need here if they share cores."""
        most = resources.rank_count if self.open else 0
        gpus, memory_gb = len(self.gpus), self.memory_gb
        if resources.beside is not None:
            gpus, memory_gb = gpus - resources.beside.gpus, memory_gb - resources.beside.memory_gb
        if gpus < 0 or memory_gb < -ROUNDING_GB:
            return 0
        if resources.gpus:
            most = min(most, gpus // resources.gpus)
        if resources.memory_gb:
            most = int(min(most, (memory_gb + ROUNDING_GB) // resources.memory_gb))
        return most


def rooms_of(inventory: Inventory, taken: Sequence[Placement]) -> list[Room]:
    """Return what is left of each host, in their order."""
    there: dict[str, list[Placement]] = {host.name: [] for host in inventory.hosts}
    for placement in taken:
        for host in placement.hosts:
            if host in there:
                there[host].append(placement)
    return [_room(host, there[host.name]) for host in inventory.hosts]


def beside(rooms: Sequence[Room], newcomer: Placement) -> list[Room]:
    """Return what is left of each host when one more program is there."""
    return [
        _room(room.host, (*room.programs, newcomer)) if room.host.name in newcomer.hosts else room
        for room in rooms
    ]


def _room(host: Host, programs: Sequence[Placement]) -> Room:
    closed: set[int] = set()
    bound: set[int] = set()
    touched: set[int] = set()
    used: set[int] = set()
    memory = 0.0
    for placement in programs:
        memory += placement.memory_gb_on(host.name)
        for holder in placement.holders_on(host.name):
            touched.update(holder.cores)
            used.update(holder.gpus)
            if placement.exclusive:
                closed.update(holder.cores)
            if placement.bound:
                bound.update(holder.cores)
    still_open = tuple(core for core in host.cores if core not in closed)
    return Room(
        host,
        tuple(programs),
        open=still_open,
        free=tuple(core for core in still_open if core not in bound),
        untouched=tuple(core for core in still_open if core not in touched),
        gpus=tuple(gpu for gpu in host.gpus if gpu not in used),
        memory_gb=math.inf if host.memory_gb is None else host.memory_gb - memory,
    )
