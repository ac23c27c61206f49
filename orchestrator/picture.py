"""A picture in text of hosts and cores, and of who holds which. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from string import ascii_uppercase

from orchestrator.hosts import Host, Inventory, numbers_text
from orchestrator.placement import Placement, RankPlacement

CELLS = 16
FREE, SHARED = ".", "+"


@dataclass(frozen=True)
class Shown:
    """A program in the picture; one without a placement waits, or runs on any core of the driver's host."""

    name: str
    placement: Placement | None
    waits: bool = False


def picture(inventory: Inventory, programs: Sequence[Shown]) -> str:
    """Return the hosts, a cell for each core, and below them the programs.

    A cell has the letter of the program that is bound to the core, and a + where others share it.
    """
    labels = {program.name: label(number) for number, program in enumerate(programs)}
    widest = max((len(program.name) for program in programs), default=0)
    lines = []
    for host in inventory.hosts:
        lines.append(_host_line(host))
        cells = [_cell(host.name, core, programs, labels) for core in host.cores]
        width = max(map(len, cells))
        for first in range(0, len(cells), CELLS):
            row = " ".join(cell.ljust(width) for cell in cells[first : first + CELLS])
            lines.append(f"  {host.cores[first]:>4} | {row.rstrip()}")
    lines.append("")
    for program in programs:
        lines.append(f"{labels[program.name]:>4}  {program.name:<{widest}}  {_where(program)}")
    lines.append(f"{FREE:>4}  free    {SHARED} shared")
    return "\n".join(lines)


def label(number: int) -> str:
    """Return A, B, …, Z, AA, AB, … for 0, 1, …"""
    text = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, len(ascii_uppercase))
        text = ascii_uppercase[letter] + text
    return text


def _host_line(host: Host) -> str:
    facts = [f"{len(host.cores)} core{'s' * (len(host.cores) > 1)}"]
    facts += [f"GPUs {numbers_text(host.gpus)}"] if host.gpus else []
    facts += [f"{host.memory_gb:.1f} GB"] if host.memory_gb is not None else []
    return f"{host.name}  {', '.join(facts)}"


def _cell(host: str, core: int, programs: Sequence[Shown], labels: dict[str, str]) -> str:
    there = [
        program
        for program in programs
        if program.placement is not None and core in program.placement.cores_on(host)
    ]
    bound = [labels[program.name] for program in there if program.placement and program.placement.bound]
    if not there:
        return FREE
    return "".join(bound) + SHARED * (len(there) > len(bound))


def _where(program: Shown) -> str:
    placement = program.placement
    if program.waits:
        return "waits for its turn"
    if placement is None:
        return "any core of the driver's host"
    databases = {place.host: f" database {_cores_text(place)}" for place in placement.beside}
    hosts = [_on_host(host, list(placement.on(host))) + databases.get(host, "") for host in placement.hosts]
    kind = "" if placement.bound else "shared"
    kind = "for itself" if placement.exclusive else kind
    kind = "hosts for itself" if placement.exclusive_hosts else kind
    ranks = f"{len(placement.ranks)} ranks" if len(placement.ranks) > 1 else ""
    return "  ".join(filter(None, (", ".join(hosts), ranks, kind)))


def _on_host(host: str, ranks: Sequence[RankPlacement]) -> str:
    """Return the cores of each rank, equal ones once: `a 0-1 2-3`, `b 0-7 ×4`."""
    texts = [_cores_text(rank) for rank in ranks]
    return " ".join([host, *(f"{text}{_times(len(list(same)))}" for text, same in groupby(texts))])


def _cores_text(rank: RankPlacement) -> str:
    return numbers_text(rank.cores) + (f"/gpu{numbers_text(rank.gpus)}" if rank.gpus else "")


def _times(count: int) -> str:
    return f" ×{count}" if count > 1 else ""
