"""What is to be started, from what a user describes: all is checked and placed before any of it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.application import Application
from orchestrator.database import Orchestrator, shard_names
from orchestrator.environment import program_environment, run_environment
from orchestrator.errors import ApplicationError, PlacementError
from orchestrator.hosts import Inventory, is_here, this_host
from orchestrator.launchers.base import Launch
from orchestrator.placement import Placement
from orchestrator.placing import place
from orchestrator.ports import is_loopback
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
        ranks = application.resources.rank_count if application.resources.mpi else None
        argv = application.argv()
        launches.append(Launch(name, argv, directory, log_of(directory), environment, placements[-1], ranks))
    return launches


def place_shards(
    orchestrator: Orchestrator, inventory: Inventory, taken: Sequence[Placement], *, dry: bool
) -> dict[str, Placement]:
    """Place all shards before any is started, and once: a shard started again keeps its cores.

    They run on the driver's host; a preview on other hosts takes the first for it.

    Raises:
        PlacementError: one finds no place there.
    """
    placements: dict[str, Placement] = {}
    if orchestrator.resources is None:
        return placements
    here = [host for host in inventory.hosts if is_here(host.name)]
    if not here and dry:
        here = list(inventory.hosts[:1])
    if not here:
        names = ", ".join(host.name for host in inventory.hosts)
        raise PlacementError(
            f"the database runs on this host, {this_host().name!r}, which is not among the hosts: {names}",
            asked=1,
            available=0,
            what="hosts",
        )
    for name in shard_names(orchestrator):
        others = [*taken, *placements.values()]
        placements[name] = place(name, orchestrator.resources, Inventory(tuple(here)), others)
    return placements


def out_of_reach(launches: Sequence[Launch], address: Address) -> PlacementError | None:
    """Return why a program cannot reach its database from where it has its place; None where all can."""
    if address.unix_socket is None and not all(is_loopback(endpoint.host) for endpoint in address.endpoints):
        return None
    for launch in launches:
        hosts = launch.placement.hosts if launch.placement is not None else ()
        away = [host for host in hosts if not is_here(host)]
        if away and address.environment().items() <= launch.environment.items():
            return PlacementError(
                f"{launch.name!r} has its place on {', '.join(away)}, from where the database at {address} "
                "cannot be reached: give it an interface that other hosts reach, as in "
                'Orchestrator(port=0, interface="eth0", open_port=True)',
                asked=len(hosts),
                available=len(hosts) - len(away),
                what="hosts",
            )
    return None


def placed_shard(launch: Launch, placements: dict[str, Placement], files: RunFiles) -> Launch:
    """Return the launch of a shard at its place, and with the environment of its run."""
    environment = {**launch.environment, **run_environment(launch.name, launch.directory, files)}
    return replace(launch, environment=environment, placement=placements.get(launch.name))
