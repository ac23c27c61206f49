"""Which cores and GPUs a program gets. Pure but for `this_host`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.application import Resources
from orchestrator.errors import PlacementError


@dataclass(frozen=True)
class Inventory:
    """What a host has for us: numbers of cores and of GPUs."""

    cores: tuple[int, ...]
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Placement:
    """What one program was given.

    Attributes:
        cores: it may run on these only.
        gpus: it alone may use these.
        exclusive: nobody else gets its cores.
        bound: it has as many cores for itself as it asked for; otherwise it shares `cores` with others.
    """

    cores: tuple[int, ...]
    gpus: tuple[int, ...] = ()
    exclusive: bool = False
    bound: bool = True


def this_host() -> Inventory:
    """Return the cores this process may use, and the NVIDIA GPUs there are."""
    devices = Path("/dev").glob("nvidia[0-9]*")
    gpus = sorted(int(device.name.removeprefix("nvidia")) for device in devices)
    return Inventory(tuple(sorted(os.sched_getaffinity(0))), tuple(gpus))


def place(name: str, resources: Resources, host: Inventory, taken: Sequence[Placement]) -> Placement:
    """Choose cores and GPUs for one program beside those that run already.

    A program whose cores are all free is bound to them. On a full host it shares the cores that nobody has
    for himself, and the kernel balances: binding it to one busy core would leave another idle.

    Raises:
        PlacementError: too few GPUs; or too few cores and somebody insists on having his alone.
    """
    gpus = _free_gpus(name, resources.gpus, host, taken)
    closed = {core for placement in taken if placement.exclusive for core in placement.cores}
    bound = {core for placement in taken if placement.bound for core in placement.cores}
    open_cores = [core for core in host.cores if core not in closed]
    free = [core for core in open_cores if core not in bound]
    if resources.exclusive:
        free = [core for core in free if not _shared(core, taken)]
    if len(free) >= resources.cores:
        return Placement(tuple(free[: resources.cores]), gpus, resources.exclusive)
    if resources.exclusive or not open_cores:
        raise PlacementError(
            f"{name!r} needs {resources.cores} core(s)"
            f"{' for itself' if resources.exclusive else ''}, "
            f"and {len(free)} of the host's {len(host.cores)} are free",
            asked=resources.cores,
            available=len(free),
        )
    return Placement(tuple(open_cores), gpus, bound=False)


def thread_caps(cores: int) -> dict[str, str]:
    """Return the variables that hold numerical libraries to a number of threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict.fromkeys((*names, "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS"), str(cores))


def load_of(placements: Iterable[Placement]) -> Counter[int]:
    """Count the programs that may run on each core."""
    return Counter(core for placement in placements for core in placement.cores)


def _shared(core: int, taken: Sequence[Placement]) -> bool:
    return load_of(taken)[core] > 0


def _free_gpus(name: str, asked: int, host: Inventory, taken: Sequence[Placement]) -> tuple[int, ...]:
    used = {gpu for placement in taken for gpu in placement.gpus}
    free = [gpu for gpu in host.gpus if gpu not in used]
    if len(free) < asked:
        raise PlacementError(
            f"{name!r} needs {asked} GPU(s), and {len(free)} of the host's {len(host.gpus)} are free",
            asked=asked,
            available=len(free),
        )
    return tuple(free[:asked])
