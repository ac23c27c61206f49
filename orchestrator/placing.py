"""Which hosts, cores and GPUs a program gets beside those that run already. Pure.

A program whose cores are all free is bound to them. Where too few are free it shares the cores that nobody
has for himself, and the kernel balances: binding it to one busy core would leave another idle. GPUs and
memory are never shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from orchestrator.errors import PlacementError
from orchestrator.hosts import Inventory
from orchestrator.placement import Placement, RankPlacement
from orchestrator.resources import Resources, is_called
from orchestrator.rooms import Room, rooms_of


def place(
    name: str,
    resources: Resources,
    inventory: Inventory,
    taken: Sequence[Placement],
    *,
    share: bool = True,
) -> Placement:
    """Choose a place for every rank of one program.

    Args:
        name: of the program.
        resources: what it needs.
        inventory: the hosts there are.
        taken: the places of the programs that run already.
        share: where too few cores are free, share those of others.

    Raises:
        PlacementError: what is lacking, and how much of it.
    """
    rooms = rooms_of(inventory, taken)
    found = find_place(name, resources, rooms, share=share)
    if found is not None:
        return found
    candidates = _candidates(name, resources, rooms, taken)
    raise _refusal(name, resources, candidates, share=share and not resources.exclusive)


def find_place(name: str, resources: Resources, every: Sequence[Room], *, share: bool) -> Placement | None:
    """Return what `place` does, and None where it would refuse: for those who need not know why.

    Args:
        name: of the program.
        resources: what it needs.
        every: what is left of each host.
        share: as for `place`.
    """
    rooms = [room for room in every if _welcome(name, resources, room)]
    counts = _spread(resources, [room.ranks_bound(resources) for room in rooms])
    if counts is not None:
        return _placement(name, resources, rooms, counts, bound=True)
    if share and not resources.exclusive and rooms and (counts := _share_out(resources, rooms)) is not None:
        return _placement(name, resources, rooms, counts, bound=False)
    return None


def _candidates(
    name: str, resources: Resources, rooms: Sequence[Room], taken: Sequence[Placement]
) -> list[Room]:
    """Return the rooms on hosts where a program that is refused may be beside those who are there."""
    near, away = resources.near, resources.away_from
    if near is not None and not any(is_called(near, placement.program) for placement in taken):
        placed = ", ".join(sorted({placement.program for placement in taken})) or "none"
        raise PlacementError(
            f"{name!r} is to be near {near!r}, and no such program has a place yet; these have: {placed}",
            asked=1,
            available=0,
            what="hosts",
        )
    rooms_left = [room for room in rooms if _welcome(name, resources, room)]
    if not rooms_left:
        asked = len(resources.shares() or [1])
        besides = (f"near {near!r}" if near else "", f"away from {away!r}" if away else "")
        wanted = " and ".join(filter(None, (*besides, "for itself" if resources.exclusive_hosts else "")))
        raise PlacementError(
            f"{name!r} needs {asked} host(s){' ' if wanted else ''}{wanted}, and none of the {len(rooms)} "
            f"there are can take it beside {_neighbours(rooms)}",
            asked=asked,
            available=0,
            what="hosts",
        )
    return rooms_left


def _welcome(name: str, resources: Resources, room: Room) -> bool:
    near, away = resources.near, resources.away_from
    names = [program.program for program in room.programs]
    return (
        not (resources.exclusive_hosts and room.programs)
        and not any(program.exclusive_hosts for program in room.programs)
        and (near is None or any(is_called(near, there) for there in names))
        and (away is None or not any(is_called(away, there) for there in names))
        and not any(program.away_from and is_called(program.away_from, name) for program in room.programs)
    )


def _spread(resources: Resources, capacities: Sequence[int]) -> list[int] | None:
    """Return how many ranks each host gets; None where they do not all fit."""
    shares = resources.shares()
    if shares is not None:
        counts = _first_fit(shares, capacities)
        return counts if sum(counts) == resources.rank_count else None
    left = resources.rank_count
    whole = next((number for number, capacity in enumerate(capacities) if capacity >= left), None)
    if whole is not None:
        return [left if number == whole else 0 for number in range(len(capacities))]
    counts = []
    for capacity in capacities:
        counts.append(min(capacity, left))
        left -= counts[-1]
    return counts if left == 0 else None


def _first_fit(shares: Sequence[int], capacities: Sequence[int]) -> list[int]:
    """Give each share, the largest first, a host of its own: the first that can take it."""
    counts = [0] * len(capacities)
    for share in shares:
        hosts = (n for n, capacity in enumerate(capacities) if not counts[n] and capacity >= share)
        if (host := next(hosts, None)) is not None:
            counts[host] = share
    return counts


def _share_out(resources: Resources, rooms: Sequence[Room]) -> list[int] | None:
    """Return how many ranks each host gets if they share cores: the least busy host takes the next."""
    capacities = [room.ranks_shared(resources) for room in rooms]
    order = sorted(range(len(rooms)), key=lambda number: rooms[number].load)
    if resources.shares() is not None:
        counts = _spread(resources, [capacities[number] for number in order])
        by_host = dict(zip(order, counts or [], strict=False))
        return None if counts is None else [by_host[number] for number in range(len(rooms))]
    if sum(capacities) < resources.rank_count:
        return None
    given = [0] * len(rooms)
    for _ in range(resources.rank_count):
        able = [number for number in range(len(rooms)) if given[number] < capacities[number]]
        chosen = min(able, key=lambda n: rooms[n].load + given[n] / len(rooms[n].open))
        given[chosen] += 1
    return given


def _placement(
    name: str, resources: Resources, rooms: Sequence[Room], counts: Sequence[int], *, bound: bool
) -> Placement:
    """Return the places of a program that has a number of ranks in each room."""
    used = [(room, count) for room, count in zip(rooms, counts, strict=True) if count]
    ranks = (rank for room, count in used for rank in _ranks(resources, room, count, bound=bound))
    beside = resources.beside
    places = (_beside(resources, beside, *each, bound=bound) for each in used) if beside is not None else ()
    return Placement(
        tuple(ranks),
        name,
        exclusive=resources.exclusive,
        bound=bound,
        rank_cores=resources.rank_cores,
        exclusive_hosts=resources.exclusive_hosts,
        memory_gb=resources.memory_gb,
        away_from=resources.away_from,
        beside=tuple(places),
        beside_memory_gb=beside.memory_gb if beside is not None else 0.0,
    )


def _ranks(resources: Resources, room: Room, count: int, *, bound: bool) -> Iterator[RankPlacement]:
    cores = room.cores_for(resources)
    for rank in range(count):
        own = _part(cores, rank, resources.rank_cores) if bound else room.open
        yield RankPlacement(room.host.name, own, _part(room.gpus, rank, resources.gpus))


def _beside(resources: Resources, beside: Resources, room: Room, count: int, *, bound: bool) -> RankPlacement:
    """Return what the database beside ranks has: the cores and GPUs after theirs."""
    left = room.cores_for(resources)[count * resources.rank_cores :]
    cores = left[: beside.cores] if bound else room.open
    return RankPlacement(room.host.name, cores, room.gpus[count * resources.gpus :][: beside.gpus])


def _part(numbers: Sequence[int], rank: int, each: int) -> tuple[int, ...]:
    return tuple(numbers[rank * each : (rank + 1) * each])


def _refusal(name: str, resources: Resources, rooms: Sequence[Room], *, share: bool) -> PlacementError:
    """Say what is lacking: in all, or, where there is enough in all, on each host."""
    ranks, where = resources.rank_count, _hosts_text(rooms)

    def total(count: Callable[[Room], float]) -> float:
        return sum(count(room) for room in rooms)

    def lacking(what: str, asked: float, available: float, there: str) -> PlacementError:
        unit = {"cores": "core(s)", "GPUs": "GPU(s)", "memory": "GB of memory"}[what]
        alone = " for itself" if what == "cores" and resources.exclusive else ""
        of_them = {"cores": least.cores, "GPUs": least.gpus, "memory": least.memory_gb}[what]
        database = f", {of_them:g} of them for the database beside it" if of_them else ""
        return PlacementError(
            f"{name!r} needs {asked:g} {unit}{alone}{database}, "
            f"and {available:g} of {there} {where} are free",
            asked=asked,
            available=available,
            what=what,
        )

    least = _least_beside(resources)
    gpus = ranks * resources.gpus + least.gpus
    memory = ranks * resources.memory_gb + least.memory_gb
    if gpus > (free := total(lambda room: len(room.gpus))):
        return lacking("GPUs", gpus, free, f"the {total(lambda room: len(room.host.gpus)):g} of")
    if memory > (left := total(lambda room: room.memory_gb)):
        return lacking("memory", memory, left, f"the {total(lambda room: room.host.memory_gb or 0.0):g} of")
    cores = ranks * resources.rank_cores + least.cores
    open_cores = total(lambda room: len(room.cores_for(resources)))
    if not (share and any(room.open for room in rooms)) and cores > open_cores:
        return lacking("cores", cores, open_cores, f"the {total(lambda room: len(room.host.cores)):g} of")
    return _misfit(name, resources, rooms, share=share)


class _Least(NamedTuple):
    """What the databases beside a program need on as few hosts as it can have."""

    cores: int = 0
    gpus: int = 0
    memory_gb: float = 0.0


def _least_beside(resources: Resources) -> _Least:
    beside, hosts = resources.beside, len(resources.shares() or [1])
    if beside is None:
        return _Least()
    return _Least(hosts * beside.cores, hosts * beside.gpus, hosts * beside.memory_gb)


def _misfit(name: str, resources: Resources, rooms: Sequence[Room], *, share: bool) -> PlacementError:
    capacities = [room.ranks_shared(resources) if share else room.ranks_bound(resources) for room in rooms]
    each = f"{_needs_text(resources)} each"
    if resources.beside is not None:
        each += f" beside a database of {_needs_text(resources.beside)} on each host"
    fit = ", ".join(f"{room.host.name} {capacity}" for room, capacity in zip(rooms, capacities, strict=True))
    shares = resources.shares()
    if shares is None:
        asked, available, what = resources.rank_count, sum(capacities), "ranks"
        needs = f"room for {asked} rank(s)"
    else:
        asked, what = len(shares), "hosts"
        available = sum(1 for count in _first_fit(shares, capacities) if count)
        needs = f"{asked} host(s) for {' + '.join(map(str, shares))} rank(s)"
    return PlacementError(
        f"{name!r} needs {needs} of {each}, and there are {available}; ranks that fit: {fit}",
        asked=asked,
        available=available,
        what=what,
    )


def _needs_text(resources: Resources) -> str:
    cores = f"{resources.rank_cores} core(s)"
    gpus = f", {resources.gpus} GPU(s)" if resources.gpus else ""
    return cores + gpus + (f", {resources.memory_gb:g} GB" if resources.memory_gb else "")


def _hosts_text(rooms: Sequence[Room]) -> str:
    names = ", ".join(room.host.name for room in rooms[:3])
    return names if len(rooms) <= 3 else f"{names} and {len(rooms) - 3} more"


def _neighbours(rooms: Sequence[Room]) -> str:
    programs = sorted({program.program for room in rooms for program in room.programs})
    more = f" and {len(programs) - 5} more" if len(programs) > 5 else ""
    return (", ".join(map(repr, programs[:5])) + more) or "nobody"
