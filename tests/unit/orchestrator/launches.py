"""Programs with ranks at many places, for tests of the command lines that start them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator import Host, Inventory, Resources
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.base import Launch
from orchestrator.placing import place

GPUS = Inventory((Host("g", tuple(range(4)), (0, 1)),))


def launch(resources: Resources, inventory: Inventory | None, environment: Mapping[str, str]) -> Launch:
    """A solver with ranks at the place it gets."""
    placement = place("solver", resources, inventory, []) if inventory is not None else None
    directory = Path("/run/solver")
    command = ("/bin/solver", "--alpha=0.1")
    return Launch(
        "solver", command, directory, directory / "log.txt", environment, placement, resources.rank_count
    )


def launches(environment: Mapping[str, str]) -> dict[str, Launch]:
    """A solver in each kind of place."""
    places = {
        "ranks on one host": (Resources(ranks=3, cores_per_rank=2), parse_hosts("a:8")),
        "hosts alike": (Resources(nodes=2, ranks_per_node=2), parse_hosts("a:4,b:4")),
        "the last host with fewer": (Resources(ranks=3, ranks_per_node=2), parse_hosts("a:4,b:4")),
        "hosts that differ": (Resources(nodes=2), Inventory((Host("a", (0, 1)), Host("b", (4, 5))))),
        "ranks that share cores": (Resources(ranks=3), parse_hosts("a:2")),
        "GPUs": (Resources(ranks=2, gpus=1), GPUS),
        "no place": (Resources(ranks=2), None),
    }
    return {case: launch(*where, environment) for case, where in places.items()}
