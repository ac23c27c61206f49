"""What a program asks of the hosts."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from orchestrator.errors import UsageError


@dataclass(frozen=True)
class Resources:
    """What an Application needs of the hosts.

    A program without MPI is one process: `Resources(cores=4)`. One with MPI says how many ranks it has,
    `Resources(ranks=8)` or `Resources(nodes=2, ranks_per_node=4)`, and what each of them needs.

    Attributes:
        cores: of the process; it is bound to them where that many are free, and told to use as many threads.
            Where fewer are free it shares them with others.
        exclusive: refuse to start rather than share a core with another program of the Experiment.
        gpus: graphics processors of each rank; never shared.
        ranks: MPI ranks; None for a program without MPI. The local launcher starts one process, so it refuses
            more than one.
        nodes: spread the ranks over exactly this many hosts, evenly; one rank on each where `ranks` and
            `ranks_per_node` say nothing else. By default as few hosts as hold them.
        ranks_per_node: so many ranks on each host; the last has what is left.
        cores_per_rank: like `cores`, of each rank.
        memory_gb: of each rank; refused where the host has less left. 0 is not counted.
        exclusive_hosts: refuse to start rather than share a host with another program of the Experiment.
        near: only on hosts where this program is: its name, that of its ensemble, or "database".
        away_from: only on hosts where this program is not, whichever of the two is placed first.
        beside: what the database beside the program has on each of its hosts: `colocate(resources=...)` puts
            it here. Of a host where the program has a rank it has those cores, GPUs and memory for itself.
    """

    cores: int = 1
    exclusive: bool = False
    gpus: int = 0
    ranks: int | None = None
    nodes: int | None = None
    ranks_per_node: int | None = None
    cores_per_rank: int | None = None
    memory_gb: float = 0.0
    exclusive_hosts: bool = False
    near: str | None = None
    away_from: str | None = None
    beside: Resources | None = None

    def __post_init__(self) -> None:
        for name, least in (("cores", 1), ("gpus", 0)):
            _check_whole(name, getattr(self, name), least)
        for name in ("ranks", "nodes", "ranks_per_node", "cores_per_rank"):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), 1)
        if not _is_amount(self.memory_gb):
            raise UsageError(f"Resources(memory_gb={self.memory_gb!r}): must be a number of at least 0")
        self._check_cores()
        self._check_shape()
        self._check_neighbours()
        self._check_beside()

    @property
    def mpi(self) -> bool:
        """Whether the program has ranks."""
        return (self.ranks, self.nodes, self.ranks_per_node) != (None, None, None)

    @property
    def rank_count(self) -> int:
        """How many processes there are: 1 without MPI."""
        return self.ranks or (self.nodes or 1) * (self.ranks_per_node or 1)

    @property
    def rank_cores(self) -> int:
        """The cores of each rank."""
        return self.cores_per_rank or self.cores

    def shares(self) -> list[int] | None:
        """Return how many ranks each host gets, the most first; None where it does not matter."""
        if self.ranks_per_node is not None:
            full, rest = divmod(self.rank_count, self.ranks_per_node)
            return [self.ranks_per_node] * full + [rest] * bool(rest)
        if self.nodes is not None:
            each, more = divmod(self.rank_count, self.nodes)
            return [each + 1] * more + [each] * (self.nodes - more)
        return None

    def _check_cores(self) -> None:
        if self.cores > 1 and (self.mpi or self.cores_per_rank is not None):
            raise UsageError(
                f"Resources(cores={self.cores}): is of a program without MPI; "
                "one with ranks says cores_per_rank, and not both"
            )

    def _check_shape(self) -> None:
        ranks, nodes, each = self.ranks, self.nodes, self.ranks_per_node
        if each is not None and ranks is None and nodes is None:
            raise UsageError(f"Resources(ranks_per_node={each}): give ranks or nodes too")
        if ranks is None or nodes is None:
            return
        if each is not None and math.ceil(ranks / each) != nodes:
            raise UsageError(
                f"Resources(ranks={ranks}, nodes={nodes}, ranks_per_node={each}): "
                f"{ranks} ranks, {each} on each host, need {math.ceil(ranks / each)} hosts"
            )
        if ranks < nodes:
            raise UsageError(f"Resources(ranks={ranks}, nodes={nodes}): some host would have no rank")

    def _check_neighbours(self) -> None:
        for name in ("near", "away_from"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise UsageError(f"Resources({name}={value!r}): must be the name of a program")
        if self.near is not None and self.near == self.away_from:
            raise UsageError(f"Resources: near and away_from name the same program, {self.near!r}")

    def _check_beside(self) -> None:
        beside = self.beside
        if beside is None:
            return
        if not isinstance(beside, Resources) or beside != Resources(
            cores=beside.cores, gpus=beside.gpus, memory_gb=beside.memory_gb
        ):
            raise UsageError(
                f"the resources of a database beside a program, {beside!r}: it is one server on each host of "
                "that program, so they are cores, gpus and memory_gb; all else the program says"
            )


def is_called(name: str, program: str) -> bool:
    """Tell whether a program goes by a name: its own, or that of the ensemble or database it is a part of."""
    return program == name or re.fullmatch(re.escape(name) + r"_\d+", program) is not None


def _is_amount(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < math.inf  # type: ignore[operator]


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"Resources({name}={value!r}): must be a whole number of at least {least}")
