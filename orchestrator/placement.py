"""Where the ranks of a program are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class RankPlacement:
    """What one rank was given.

    Attributes:
        host: the name of its host.
        cores: it may run on these only.
        gpus: it alone may use these.
    """

    host: str
    cores: tuple[int, ...]
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Placement:
    """What one program was given; a program without MPI is one rank.

    Attributes:
        ranks: where each is; those of a host follow each other.
        program: its name.
        exclusive: nobody else gets its cores.
        bound: each rank has as many cores for itself as it asked for; otherwise it shares them with others.
        rank_cores: how many cores each rank asked for; one that shares may run on others too.
        exclusive_hosts: nobody else gets anything of its hosts.
        memory_gb: what each rank takes of its host's.
        away_from: nobody of this name comes to its hosts.
        beside: on each of its hosts, in their order, what the database there was given.
        beside_memory_gb: what each of those takes of its host's.
    """

    ranks: tuple[RankPlacement, ...]
    program: str = ""
    exclusive: bool = False
    bound: bool = True
    rank_cores: int = 1
    exclusive_hosts: bool = False
    memory_gb: float = 0.0
    away_from: str | None = None
    beside: tuple[RankPlacement, ...] = ()
    beside_memory_gb: float = 0.0

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The hosts of its ranks, in their order."""
        return tuple(dict.fromkeys(rank.host for rank in self.ranks))

    @cached_property
    def cores(self) -> tuple[int, ...]:
        """The cores of its ranks on the only host it is on."""
        return _union(rank.cores for rank in self.on(self._only_host()))

    @property
    def gpus(self) -> tuple[int, ...]:
        """The GPUs of its ranks on the only host it is on."""
        return _union(rank.gpus for rank in self.on(self._only_host()))

    def on(self, host: str) -> Iterator[RankPlacement]:
        """Yield the ranks on a host."""
        return (rank for rank in self.ranks if rank.host == host)

    def holders_on(self, host: str) -> Iterator[RankPlacement]:
        """Yield the ranks on a host, and what is the database's beside them."""
        return (place for place in (*self.ranks, *self.beside) if place.host == host)

    def cores_on(self, host: str) -> tuple[int, ...]:
        """Return the cores of a host that any of its ranks, or the database beside them, may run on."""
        return _union(place.cores for place in self.holders_on(host))

    def memory_gb_on(self, host: str) -> float:
        """Return what it takes of a host's memory."""
        databases = sum(1 for place in self.beside if place.host == host)
        return self.memory_gb * sum(1 for _ in self.on(host)) + self.beside_memory_gb * databases

    def _only_host(self) -> str:
        if len(self.hosts) != 1:
            raise ValueError(f"{self.program!r} is on {len(self.hosts)} hosts: ask for the cores of one")
        return self.hosts[0]


def thread_caps(cores: int) -> dict[str, str]:
    """Return the variables that hold numerical libraries to a number of threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return dict.fromkeys((*names, "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS"), str(cores))


def visible_gpus(gpus: tuple[int, ...]) -> dict[str, str]:
    """Return the variable that shows a rank its GPUs alone; nothing where it has none."""
    return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if gpus else {}


def _union(numbers: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number for some in numbers for number in some))
