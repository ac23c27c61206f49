"""What is to be started, from what a user describes: all is checked and placed before any of it starts."""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Sequence
from dataclasses import replace

from orchestrator.application import Application
from orchestrator.beside import beside_environment
from orchestrator.cluster import spread
from orchestrator.database import AnyDatabase, database_environment, shard_names
from orchestrator.deployment import LOOPBACK, Orchestrator
from orchestrator.environment import program_environment, run_environment
from orchestrator.errors import ApplicationError, PlacementError, UsageError
from orchestrator.hosts import Host, Inventory, is_here, this_host
from orchestrator.joining import ColocatedDatabase
from orchestrator.launchers.base import Launch
from orchestrator.placement import Placement, visible_gpus
from orchestrator.placing import place
from orchestrator.ports import BY_HOST_NAME, is_loopback, open_interfaces
from orchestrator.resources import Resources, is_called
from orchestrator.run_files import RunFiles, log_of
from orchestrator.sources import Sources


def describe_programs(
    applications: Sequence[Application],
    files: RunFiles,
    taken: Container[str],
    databases: Sequence[AnyDatabase],
) -> list[Launch]:
    """Check programs and return how they are started, all but where.

    Args:
        applications: the programs.
        files: of the run.
        taken: names that others have.
        databases: those that they find in their environment.

    Raises:
        ApplicationError: one cannot be started, or there is another of its name.
        InputFileError: a file that one is to find cannot be made.
    """
    names: set[str] = set()
    sources = Sources()
    driver_environment = dict(os.environ)  # may be another when their turn comes
    variables = database_environment(databases)
    launches = []
    for application in applications:
        name = application.name
        if name in taken or name in names:
            raise ApplicationError(name, "there is one of this name in the experiment already")
        names.add(name)
        directory = files.job_directory(name)
        environment = {
            **program_environment(application, variables),
            **run_environment(name, directory, files),
        }
        launches.append(
            Launch(
                name,
                application.argv(),
                directory,
                log_of(directory),
                environment,
                ranks=application.resources.rank_count if application.resources.mpi else None,
                parameters=application.parameters,
                waits=True,
                inputs=sources.inputs(application, directory),
                driver_environment=driver_environment,
            )
        )
    return launches


def placed_program(launch: Launch, placement: Placement) -> Launch:
    """Return the launch of a program at its place, with its GPUs and its databases' place in its environment.

    Several ranks have GPUs of their own each, which only a launcher can tell them.
    """
    gpus = visible_gpus(placement.gpus) if len(placement.ranks) == 1 else {}
    environment = {**gpus, **launch.environment, **beside_environment(placement)}
    return replace(launch, placement=placement, environment=environment, waits=False)


def place_programs(
    applications: Sequence[Application],
    launches: Sequence[Launch],
    inventory: Inventory,
    taken: Sequence[Placement],
    *,
    waiting: bool = False,
) -> list[Launch]:
    """Return programs at their places.

    Args:
        applications: the programs.
        launches: how each is started.
        inventory: the hosts there are.
        taken: places of those that run.
        waiting: one that finds no cores of its own gets no place, rather than share those of others.

    Raises:
        PlacementError: one finds no place.
    """
    placements = list(taken)
    placed = []
    for application, launch in zip(applications, launches, strict=True):
        try:
            found = place(launch.name, application.resources, inventory, placements, share=not waiting)
        except PlacementError:
            if not waiting:
                raise
            placed.append(launch)
        else:
            placements.append(found)
            placed.append(placed_program(launch, found))
    return placed


def place_in_the_end(
    application: Application,
    launch: Launch,
    inventory: Inventory,
    lasting: Sequence[Placement],
    near: Sequence[Placement],
    *,
    share: bool,
) -> Launch:
    """Return a program that waits at the place it could have when all have ended that ever do.

    Args:
        application: the program.
        launch: how it is started.
        inventory: the hosts there are.
        lasting: places of databases.
        near: places of programs that it may have to be near to.
        share: it may share cores.

    Raises:
        PlacementError: there will be none.
    """
    wanted = application.resources.near
    beside = [each for each in near if wanted is not None and is_called(wanted, each.program)]
    found = place(launch.name, application.resources, inventory, [*lasting, *beside], share=share)
    return placed_program(launch, found)


def place_shards(
    orchestrator: Orchestrator, inventory: Inventory, taken: Sequence[Placement], *, dry: bool
) -> dict[str, Placement]:
    """Place all shards before any is started, and once: a shard started again keeps its cores.

    They run on hosts that are chosen, or on the driver's; a preview on other hosts takes the first for it.

    Raises:
        PlacementError: one finds no place there.
        UsageError: programs on other hosts could not reach it there.
    """
    if orchestrator.resources is None and not orchestrator.on_chosen_hosts:
        return {}
    resources = orchestrator.resources or Resources()
    hosts = _hosts_of(orchestrator, resources, inventory, taken, dry=dry)
    placements: dict[str, Placement] = {}
    spread_out = spread(orchestrator.shards, orchestrator.replicas, [host.name for host in hosts])
    for name, host in zip(shard_names(orchestrator), spread_out, strict=True):
        (chosen,) = (each for each in hosts if each.name == host)
        others = [*taken, *placements.values()]
        placements[name] = place(name, resources, Inventory((chosen,)), others)
    return placements


def _hosts_of(
    orchestrator: Orchestrator,
    resources: Resources,
    inventory: Inventory,
    taken: Sequence[Placement],
    *,
    dry: bool,
) -> list[Host]:
    """Return the hosts on which a database is to be."""
    if not orchestrator.on_chosen_hosts:
        return [_driver_host(inventory, dry=dry)]
    known = {host.name: host for host in inventory.hosts}
    names = orchestrator.hosts
    if orchestrator.nodes is not None:
        _check_there(orchestrator, orchestrator.nodes, len(known), known)
        each = replace(resources, cores=1, cores_per_rank=resources.rank_cores)
        all_of_them = replace(each, ranks=orchestrator.node_count, nodes=orchestrator.nodes)
        names = place(orchestrator.name, all_of_them, inventory, taken).hosts
    there = [name for name in names if name in known]
    _check_there(orchestrator, len(names), len(there), known)
    away = [name for name in names if not is_here(name)]
    if away and (orchestrator.interface == LOOPBACK or not orchestrator.open_port):
        raise UsageError(
            f"the database {orchestrator.name!r} has its place on {', '.join(away)}, where it must listen on "
            "an interface that other hosts reach, and be allowed to, for SmartRedis can carry no password: "
            f'Orchestrator(..., port=0, interface="{BY_HOST_NAME}", open_port=True)'
        )
    return [known[name] for name in names]


def _check_there(orchestrator: Orchestrator, asked: int, available: int, known: Collection[str]) -> None:
    if available < asked:
        wanted = ", ".join(orchestrator.hosts) or f"{asked} hosts"
        raise PlacementError(
            f"the database {orchestrator.name!r} is to be on {wanted}, and the hosts there are: "
            f"{', '.join(known)}; the launchers slurm and pbs, in a job of theirs, and mpi reach others",
            asked=asked,
            available=available,
            what="hosts",
        )


def _driver_host(inventory: Inventory, *, dry: bool) -> Host:
    here = [host for host in inventory.hosts if is_here(host.name)]
    if not here and dry:
        here = list(inventory.hosts)
    if not here:
        names = ", ".join(host.name for host in inventory.hosts)
        raise PlacementError(
            f"the database runs on this host, {this_host().name!r}, which is not among the hosts: {names}; "
            "Orchestrator(nodes=1) or hosts=[...] puts it there",
            asked=1,
            available=0,
            what="hosts",
        )
    return here[0]


def out_of_reach(launches: Sequence[Launch], database: AnyDatabase) -> PlacementError | None:
    """Return why a program cannot reach a database from where it has its place; None where all can."""
    address = database.address
    if address.unix_socket is None and not all(is_loopback(endpoint.host) for endpoint in address.endpoints):
        return None
    variables = address.environment(database.identifier).items()
    for launch in launches:
        hosts = launch.placement.hosts if launch.placement is not None else ()
        away = [host for host in hosts if not _is_beside(host, database)]
        if away and variables <= launch.environment.items():
            where, call = "", "Orchestrator("
            if isinstance(database, ColocatedDatabase):
                where, call = f" on {database.host}", "colocate(program, "
            there = [f"{name} ({at})" for name, at in open_interfaces().items()]
            names = ", ".join(there) or "none but loopback"
            return PlacementError(
                f"{launch.name!r} has its place on {', '.join(away)}, from where the database at {address}"
                f"{where} cannot be reached: give it an interface that other hosts reach, as in "
                f'{call}port=0, interface="{BY_HOST_NAME}", open_port=True), or by its name. '
                f"This host has: {names}",
                asked=len(hosts),
                available=len(hosts) - len(away),
                what="hosts",
            )
    return None


def _is_beside(host: str, database: AnyDatabase) -> bool:
    """Whether a database that no network reaches is on this host."""
    if isinstance(database, ColocatedDatabase) and not is_here(database.host):
        return host == database.host
    return is_here(host)


def shard_of_run(launch: Launch, files: RunFiles) -> Launch:
    """Return the launch of a shard with the environment of its run, and its GPUs."""
    gpus = visible_gpus(launch.placement.gpus) if launch.placement is not None else {}
    environment = {**gpus, **launch.environment, **run_environment(launch.name, launch.directory, files)}
    return replace(launch, environment=environment)
