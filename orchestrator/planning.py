"""What is to be started, from what a user describes: all is checked and placed before any of it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.application import Application
from orchestrator.database import Orchestrator, shard_names
from orchestrator.environment import program_environment, run_environment
from orchestrator.errors import ApplicationError
from orchestrator.hosts import Inventory
from orchestrator.launchers.base import Launch
from orchestrator.placement import Placement
from orchestrator.placing import place
from orchestrator.run_files import RunFiles, log_of
from sim_clients.address import Address


def plan_programs(
    applications: Sequence[Application],
    files: RunFiles,
    inventory: Inventory,
    there: Sequence[Launch],
    address: Address | None,
    taken: Sequence[Placement],
) -> list[Launch]:
    """Check and place programs.

    Args:
        applications: the programs.
        files: of the run.
        inventory: the hosts there are.
        there: programs whose names are taken.
        address: of the database that they find in their environment.
        taken: places of those that run.

    Raises:
        ApplicationError: one cannot be started, or there is another of its name.
        PlacementError: one finds no place.
    """
    names = {launch.name for launch in there}
    placements = list(taken)
    launches = []
    for application in applications:
        name = application.name
        if name in names:
            raise ApplicationError(name, "there is one of this name in the experiment already")
        names.add(name)
        placements.append(place(name, application.resources, inventory, placements))
        directory = files.job_directory(name)
        environment = {
            **program_environment(application, placements[-1], address),
            **run_environment(name, directory, files),
        }
        argv, ranks = application.argv(), application.resources.rank_count
        launches.append(Launch(name, argv, directory, log_of(directory), environment, placements[-1], ranks))
    return launches


def place_shards(
    orchestrator: Orchestrator, inventory: Inventory, taken: Sequence[Placement]
) -> dict[str, Placement]:
    """Place all shards before any is started, and once: a shard started again keeps its cores."""
    placements: dict[str, Placement] = {}
    if orchestrator.resources is not None:
        for name in shard_names(orchestrator):
            others = [*taken, *placements.values()]
            placements[name] = place(name, orchestrator.resources, inventory, others)
    return placements


def placed_shard(launch: Launch, placements: dict[str, Placement], files: RunFiles) -> Launch:
    """Return the launch of a shard at its place, and with the environment of its run."""
    environment = {**launch.environment, **run_environment(launch.name, launch.directory, files)}
    return replace(launch, environment=environment, placement=placements.get(launch.name))
