"""The database: what an Orchestrator describes is started, and a Database is one that is ready."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from orchestrator.binaries import ServerBinary, find_redis_server, version_text
from orchestrator.cluster import slot_ranges
from orchestrator.deployment import Orchestrator
from orchestrator.errors import DatabaseFailed, ServerError, StartFailed, UsageError, describe_exit
from orchestrator.joining import ColocatedDatabase
from orchestrator.keeping import Keeper
from orchestrator.launchers.base import Job, JobState, Launch
from orchestrator.node import Node, slot_map
from orchestrator.placement import Placement
from orchestrator.pulse import Pulse
from orchestrator.readiness import (
    begin_logs,
    is_ours,
    shard_failure,
    start_time_s,
    wait_ready,
)
from orchestrator.redis_config import SLOT_MAP, Endpoint, RedisConfig
from orchestrator.run_files import RunFiles
from orchestrator.saved import SAVE_TIMEOUT_S, SavedDatabase, check_fits, put_back, read_saved, save
from orchestrator.servers import ServerCommand, check_memory
from orchestrator.shard import Shard, ShardError
from orchestrator.sites import Site, Sites
from orchestrator.status import DatabaseStatus, database_status
from orchestrator.streams import StreamStatus, set_bounds, stream_statuses
from sim_clients.address import Address, HostPort

SHUTDOWN_S, STOP_TIMEOUT_S = 1.0, 5.0
"""How long SHUTDOWN may take before a shard gets a SIGTERM, and that before it is killed."""
COLLISIONS = 5
KNOW_SHARD_IDS = (7, 2, 0)
PROMOTES = (7, 0, 0)
"""The oldest Redis that can be told to announce another port while it runs."""
TAKEN = ("Address already in use", "Could not create server TCP listening socket", "Failed listening on port")

StartShard = Callable[[Launch], Job]


class Database:
    """A database that runs: its nodes, their Jobs and its address."""

    def __init__(
        self,
        nodes: Sequence[Node],
        jobs: Sequence[Job],
        identifier: str = "",
        keeper: Keeper | None = None,
        watched: RedisConfig | None = None,
    ) -> None:
        self.identifier = identifier
        self._nodes = tuple(nodes)
        self.jobs = keeper.jobs if keeper is not None else tuple(jobs)
        self._keeper = keeper
        if watched is not None and watched.unresponsive_s is not None:
            cluster_s = watched.cluster_node_timeout_ms / 1000 if nodes[0].slots is not None else None
            pulse = Pulse(self._running, self._is_over, watched.unresponsive_s, cluster_s)
            for job in self.jobs:
                job.when_ended(lambda _: pulse.wake())

    def __repr__(self) -> str:
        return f"<Database {self.address}, {self.state.value}>"

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its servers, without those that have died and were not started again."""
        return self._nodes if self._keeper is None else self._keeper.nodes

    @property
    def address(self) -> Address:
        """Where programs find it: its primaries, as they are now."""
        if self._keeper is not None:
            return _address(list(self._keeper.primaries.values()))
        return _address([node for node in self.nodes if node.replica == 0])

    def _running(self) -> Sequence[tuple[Node, Job]]:
        if self._keeper is not None:
            return self._keeper.running()
        return list(zip(self._nodes, self.jobs, strict=True))

    def _is_over(self) -> bool:
        return all(job.state.final for job in self.jobs)

    def when_changed(self, listener: Callable[[str], None]) -> None:
        """Have a function told, on a thread of its own, when a server has died and the database goes on."""
        if self._keeper is not None:
            self._keeper.changed = listener

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where each node listens."""
        return tuple(node.endpoint for node in self.nodes)

    @property
    def state(self) -> JobState:
        """ACTIVE as long as every shard is."""
        ended = (job.state for job in self.jobs if job.state.final and not job.tolerated)
        return next(ended, JobState.ACTIVE)

    def status(self) -> DatabaseStatus:
        """Ask every server for its role, memory, slots and keys; those that do not answer are told too."""
        return database_status(self.identifier, self.nodes)

    def streams(self) -> list[StreamStatus]:
        """Ask how full each stream is that programs have put snapshots in, and who waits for room in it."""
        return stream_statuses(self.nodes)

    def snapshot(self, directory: str | Path, timeout_s: float = SAVE_TIMEOUT_S) -> SavedDatabase:
        """Save all data to disk while the database goes on; `Orchestrator(restore_from=...)` reads it.

        Args:
            directory: where to; is made.
            timeout_s: how long it may take.

        Raises:
            SavedError: saying why; no half of it is left.
        """
        return save(self.nodes, Path(directory).absolute(), timeout_s)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End every shard, without saving. Harmless where it has ended."""
        nodes = {node.name: node for node in self.nodes}
        jobs = [job for job in self.jobs if job.name in nodes]
        _stop_nodes(jobs, [nodes[job.name] for job in jobs], timeout_s)

    def failure(self) -> DatabaseFailed | None:
        """Return the error of the first shard that ended without being told to."""
        ended = (job for job in self.jobs if job.state in (JobState.FAILED, JobState.COMPLETED))
        job = next((job for job in ended if not job.tolerated), None)
        if job is None:
            return None
        reason = f"; {job.reason}" if job.reason else ""
        return shard_failure(job, f"{describe_exit(job.returncode)} in the middle{reason}")


AnyDatabase = Database | ColocatedDatabase


def start_database(
    orchestrator: Orchestrator,
    files: RunFiles,
    start: StartShard,
    *,
    places: Mapping[str, Placement] | None = None,
    dry: bool = False,
    name: str | None = None,
) -> Database:
    """Start the shards and wait until the database is ready.

    Args:
        orchestrator: what to start.
        files: where its sockets, directories and logs are.
        start: starts one shard, or what asks its host.
        places: of its servers, by their names; those without one run unbound on this host.
        dry: nothing is really started, so nothing is built and nothing is waited for.
        name: in place of its own; of its socket and its shards' directories.

    Raises:
        ServerError, BuildError, PortError, SavedError, UsageError: before anything is started.
        StartFailed: the operating system refused to start a shard.
        DatabaseFailed: with the log of the shard that died or did not become ready.
    """
    name, places = name or orchestrator.name, places or {}
    sites = Sites(orchestrator, files, name, places, start, dry)
    sites.check(shard_names(orchestrator, name))
    server = find_redis_server(orchestrator.redis_server)
    _check_promotes(orchestrator, server)
    loaded = orchestrator.load_arguments(dry=dry)
    saved = _saved(orchestrator, server, loaded)
    command = ServerCommand(server.executable, orchestrator.config, loaded, orchestrator.clustered)
    # A server that logs its writes reads its log when it starts, not what was saved: it begins to log later.
    config = replace(orchestrator.config, append_only=False) if saved else orchestrator.config
    first = replace(command, config=config)
    for attempt in range(COLLISIONS):
        nodes = _nodes(orchestrator, sites)
        check_memory(orchestrator.config, nodes)
        jobs: list[Job] = []
        try:
            if saved is not None and not dry:
                put_back(saved, nodes)
            timeout_s = start_time_s(node.directory for node in nodes)
            for node in nodes:
                launch = replace(first.launch(node), placement=places.get(node.name))
                if orchestrator.clustered and not dry:
                    _write_slot_map(nodes, node, launch, shard_ids=server.version >= KNOW_SHARD_IDS)
                jobs.append(start(launch))
            if not dry:
                wait_ready(jobs, nodes, tensors=bool(loaded), timeout_s=timeout_s)
                if config != orchestrator.config:
                    begin_logs(jobs, nodes, timeout_s)
                set_bounds(orchestrator.streams, nodes)
        except BaseException as error:
            _stop_nodes(jobs, nodes[: len(jobs)], STOP_TIMEOUT_S)
            if _collided(error, orchestrator) and attempt + 1 < COLLISIONS:
                continue
            raise
        keeper = None if dry else _keeper(nodes, jobs, command, sites)
        watched = None if dry else orchestrator.config
        return Database(nodes, jobs, orchestrator.identifier, keeper, watched)
    raise AssertionError("the last attempt returns or raises")


def shard_names(orchestrator: Orchestrator, name: str | None = None) -> list[str]:
    """Return what the servers of a database are called: those of its shards, then those of replicas."""
    return [f"{name or orchestrator.name}_{number}" for number in range(orchestrator.node_count)]


def as_databases(given: AnyDatabase | Sequence[AnyDatabase] | None) -> tuple[AnyDatabase, ...]:
    """Return the databases that a program is given.

    Raises:
        UsageError: something else is among them, or two that its environment could not tell apart.
    """
    if given is None:
        return ()
    databases = tuple(given) if isinstance(given, list | tuple) else (given,)
    known: set[str] = set()
    for database in databases:
        if not isinstance(database, Database | ColocatedDatabase):
            raise UsageError(
                f"database={database!r}: give what start(Orchestrator(...)) or colocated(job) returned"
            )
        if database.identifier in known:
            called = f"with the identifier {database.identifier!r}" if database.identifier else "without one"
            raise UsageError(f"database=: two databases {called}; each needs an identifier of its own")
        known.add(database.identifier)
    return databases


def database_environment(databases: Sequence[AnyDatabase]) -> dict[str, str]:
    """Return the variables by which a program finds its databases.

    One without an identifier, else the first, is also what a program finds that asks for none by name.
    """
    unnamed = next((each for each in databases if not each.identifier), None) or next(iter(databases), None)
    environment = unnamed.address.environment() if unnamed is not None else {}
    for database in databases:
        environment |= database.address.environment(database.identifier)
    return environment


def _stop_nodes(all_jobs: Sequence[Job], nodes: Sequence[Node], timeout_s: float) -> None:
    """End replicas before their primaries, which would wait for what they have not told them yet."""
    pairs = [pair for pair in zip(all_jobs, nodes, strict=True) if not pair[0].state.final]
    running = sorted(pairs, key=lambda pair: pair[1].replica, reverse=True)
    jobs = [job for job, _ in running]
    with ExitStack() as stack:
        for job, node in running:
            job.expect_end()
            _ask_to_end(job, stack.enter_context(Shard(node.endpoint, timeout_s=timeout_s)))
        _wait_all(jobs, min(timeout_s, SHUTDOWN_S))
        for job in jobs:
            job.terminate()
        _wait_all(jobs, timeout_s)
        for job in jobs:
            job.kill()
        _wait_all(jobs, None)


def _check_promotes(orchestrator: Orchestrator, server: ServerBinary) -> None:
    if orchestrator.on_shard_failure == "promote" and server.version < PROMOTES:
        raise ServerError(
            f'on_shard_failure="promote" needs Redis {version_text(PROMOTES)}: in {server} a replica that is '
            "promoted tells new clients an address where it does not listen. Give another redis_server",
            executable=server.executable,
            version=version_text(server.version),
        )


def _nodes(orchestrator: Orchestrator, sites: Sites) -> list[Node]:
    names = shard_names(orchestrator, sites.name)
    ranges: Sequence[range | None] = slot_ranges(orchestrator.shards) if orchestrator.clustered else [None]

    def node(number: int, called: str, site: Site) -> Node:
        replica, shard = divmod(number, orchestrator.shards)
        directory = sites.files.shard_directory(sites.name, number)
        identity, memory = secrets.token_hex(20), site.memory_bytes
        return Node(called, shard, site.endpoint, directory, ranges[shard], replica, identity, memory)

    placed = zip(names, sites.choose(names), strict=True)
    return [node(number, called, site) for number, (called, site) in enumerate(placed)]


def _saved(orchestrator: Orchestrator, server: ServerBinary, loaded: Sequence[str]) -> SavedDatabase | None:
    if orchestrator.restore_from is None:
        return None
    saved = read_saved(Path(orchestrator.restore_from))
    slots = slot_ranges(orchestrator.shards) if orchestrator.clustered else [None]
    check_fits(saved, slots, server, has_module=bool(loaded))
    return saved


def _keeper(
    nodes: Sequence[Node], jobs: Sequence[Job], command: ServerCommand, sites: Sites
) -> Keeper | None:
    """Return who keeps the database going when a server dies, where that is asked for."""
    orchestrator = sites.orchestrator
    if orchestrator.on_shard_failure == "stop":
        return None

    def start_again(node: Node) -> tuple[Node, Job]:
        hidden = sites.another(node)
        launch = command.launch(hidden, node.endpoint.port)
        return hidden, sites.start(replace(launch, placement=sites.places.get(node.name)))

    restarts = orchestrator.on_shard_failure == "restart"
    logs_writes = orchestrator.config.append_only
    return Keeper(nodes, jobs, start_again if restarts else None, logs_writes=logs_writes)


def _write_slot_map(nodes: Sequence[Node], node: Node, launch: Launch, *, shard_ids: bool) -> None:
    try:
        node.directory.mkdir(parents=True, exist_ok=True)
        (node.directory / SLOT_MAP).write_text(slot_map(nodes, node, shard_ids=shard_ids))
    except OSError as error:
        raise StartFailed(
            f"{node.name!r} could not be started: its slot map cannot be written: {error}",
            name=node.name,
            command=launch.command,
        ) from error


def _collided(error: BaseException, orchestrator: Orchestrator) -> bool:
    """Whether another program took a port between our choice and the shard's start: then another is tried."""
    return (
        isinstance(error, DatabaseFailed)
        and not orchestrator.port
        and any(text in error.log_tail for text in TAKEN)
    )


def _wait_all(jobs: Sequence[Job], timeout_s: float | None) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    for job in jobs:
        job.wait_ended(None if deadline is None else max(0.0, deadline - time.monotonic()))


def _ask_to_end(job: Job, shard: Shard) -> None:
    """SHUTDOWN acts at once; SIGTERM, the fallback, is only looked at ten times a second."""
    if not is_ours(job, shard):
        job.terminate()
        return
    try:
        shard.ask_to_end()
    except ShardError:  # it takes no commands, but a signal it will
        job.terminate()


def _address(primaries: Sequence[Node]) -> Address:
    first = primaries[0].endpoint
    if first.unix_socket is not None:
        return Address(unix_socket=first.unix_socket)
    hosts = tuple(HostPort(node.endpoint.host, node.endpoint.port) for node in primaries)
    return Address(endpoints=hosts, clustered=primaries[0].slots is not None)
