"""What a database is to be: an Orchestrator. database.py starts it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.build import MODULE_NAME, built_module, cached_build
from orchestrator.cluster import check_replicas, check_shard_count
from orchestrator.errors import UsageError
from orchestrator.model_runtime import ModelRuntime
from orchestrator.ports import BUS_OFFSET, interface_address, is_loopback
from orchestrator.redis_config import RedisConfig, is_whole, sharing_arguments
from orchestrator.resources import Resources
from orchestrator.run_files import LONGEST_IDENTIFIER
from orchestrator.streams import check_bounds
from sim_clients.flow import Bound

LOOPBACK = "lo"
NAME = "database"
IDENTIFIER = re.compile(rf"[A-Za-z]\w{{0,{LONGEST_IDENTIFIER - 1}}}", re.ASCII)
LIKE_A_SHARD = re.compile(r".*_\d+")
ON_SHARD_FAILURE = ("stop", "promote", "restart")


@dataclass(frozen=True)
class Orchestrator:
    """A database to start: one shard, or a cluster of several; on this host, or on hosts that are chosen.

    Attributes:
        shards: 1, or the size of the cluster.
        replicas: of each shard of a cluster: further servers that hold what it holds.
        port: None: one shard listens on a private Unix socket only, a cluster on ports that the operating
            system chooses. 0: a port it chooses. Otherwise this one, and those after it for further servers.
        interface: the network interface it listens on, loopback by default; "hostname" is the one to which
            each host's own name leads.
        open_port: allow an interface that other hosts reach. SmartRedis clients can carry no password, so
            everybody who reaches the port can read and write.
        redis_server: the redis-server to use; found by itself by default.
        config: how each shard is set up.
        module: path of a Redis module and its arguments, in place of Penstock's own; () for none.
        resources: bind each shard to cores; unbound by default.
        models: how the models stored in it are run; refused with a `module` of your own.
        identifier: what tells it from the other databases of the Experiment. A program that is given it finds
            it as `SSDB_<identifier>`.
        restore_from: a directory that `Database.snapshot` has written: the database starts with what was
            saved there. It must have as many shards.
        on_shard_failure: what the death of a server means. "stop": the run ends with the reason. "promote": a
            replica takes the place of its primary, and only a shard without one ends the run; needs Redis 7.
            "restart": the server is started again, up to three times, with what its log of writes has
            (`RedisConfig(append_only=True)`), or what `Database.snapshot` has last saved, without the rest.
        hosts: names of those it is on; on the driver's by default. Its servers are dealt out to them in turn,
            a replica to another host than its shard's where there is one. Each has `resources`, one core by
            default, and with `port` each host counts from there.
        nodes: likewise, but only how many hosts: those that have room for it.
        streams: name -> how much of a stream is kept, and what happens to a snapshot that finds no room.
            Programs may bound others.
    """

    shards: int = 1
    port: int | None = None
    interface: str = LOOPBACK
    open_port: bool = False
    redis_server: str | Path | None = None
    config: RedisConfig = field(default_factory=RedisConfig)
    module: Sequence[str] | None = None
    resources: Resources | None = None
    models: ModelRuntime = field(default_factory=ModelRuntime)
    identifier: str = ""
    replicas: int = 0
    restore_from: str | Path | None = None
    on_shard_failure: str = "stop"
    hosts: Sequence[str] = ()
    nodes: int | None = None
    streams: Mapping[str, Bound] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_identifier(self.identifier)
        check_shard_count(self.shards)
        check_replicas(self.replicas, self.shards)
        _check_on_failure(self.on_shard_failure, self.replicas)
        _check_hosts(self.hosts, self.nodes, self.node_count)
        object.__setattr__(self, "hosts", tuple(self.hosts))
        if self.resources is not None and self.resources.mpi:
            raise UsageError(
                f"resources={self.resources!r}: they are those of each server, which is one process; "
                "Resources(cores=...) says how many it has, and nodes= on how many hosts they are"
            )
        highest = 65_535 - self.node_count + 1 - (BUS_OFFSET if self.clustered else 0)
        if self.port is not None and not (is_whole(self.port) and 0 <= self.port <= highest):
            raise UsageError(f"port={self.port!r}: must be 0 to {highest} for {self.node_count} server(s)")
        check_bounds(self.streams)
        if self.module is not None:
            _check_module(self.module)
            if self.streams:
                raise UsageError("streams= needs Penstock's own module, and module= names another")
            if self.models != ModelRuntime():
                raise UsageError(
                    f"models={self.models!r} would have no effect: it becomes arguments of our module, and "
                    "module= names another; give that one its arguments, module=(path, argument, ...)"
                )
            if self.config.shared_memory_mb:
                raise UsageError(
                    f"RedisConfig(shared_memory_mb={self.config.shared_memory_mb}) would have no effect: it "
                    "becomes an argument of our module, and module= names another"
                )
            object.__setattr__(self, "module", tuple(self.module))

    @property
    def name(self) -> str:
        """What it is called among the programs of its run; its shards are `<name>_0`, …."""
        return f"{NAME}_{self.identifier}" if self.identifier else NAME

    @property
    def clustered(self) -> bool:
        """Whether keys are spread over several shards."""
        return self.shards > 1

    @property
    def node_count(self) -> int:
        """How many servers it has: each shard's first, then their replicas."""
        return self.shards * (1 + self.replicas)

    @property
    def on_chosen_hosts(self) -> bool:
        """Whether it is on hosts that are chosen, rather than on the driver's."""
        return bool(self.hosts) or self.nodes is not None

    @property
    def private(self) -> bool:
        """Whether it listens on a Unix socket only."""
        return self.port is None and not self.clustered

    def check_interface(self) -> None:
        """Refuse an interface that does not exist, must not be opened, or would not be listened on.

        Raises:
            UsageError
        """
        self.host()
        if self.private and self.interface != LOOPBACK:
            raise UsageError(
                f"interface {self.interface!r} without a port: one shard listens on a Unix socket then; "
                "give a port too, port=0 for one that the operating system chooses"
            )

    def host(self) -> str:
        """Return the address it listens on.

        Raises:
            UsageError: no such interface, or an open one that was not allowed.
        """
        host = interface_address(self.interface)
        if not is_loopback(host) and not self.open_port:
            raise UsageError(
                f"interface {self.interface!r} ({host}) can be reached from other hosts, and the database "
                "has no password that SmartRedis could carry; Orchestrator(open_port=True) allows it"
            )
        return host

    def load_arguments(self, *, dry: bool = False) -> tuple[str, ...]:
        """Return the module and its arguments; builds Penstock's own where that has not been done.

        Args:
            dry: build nothing; a module that has not been built goes by its name.

        Raises:
            BuildError
        """
        if self.module is not None:
            return tuple(self.module)
        build = cached_build() if dry else built_module(print)
        said = (
            *self.models.load_arguments(private=self.private),
            *sharing_arguments(self.config, private=self.private),
        )
        if build is None:
            return (MODULE_NAME, *said)
        return (str(build.module), *build.load_arguments(), *said)


def _check_identifier(identifier: object) -> None:
    fits = isinstance(identifier, str) and (identifier == "" or IDENTIFIER.fullmatch(identifier))
    if not fits or LIKE_A_SHARD.fullmatch(str(identifier)):
        raise UsageError(
            f"Orchestrator(identifier={identifier!r}): it ends the names of environment variables, as in "
            f"SSDB_<identifier>, so up to {LONGEST_IDENTIFIER} letters, digits and '_', beginning with a "
            "letter; and it does not end in '_' and a number, as the names of shards do"
        )


def _check_hosts(hosts: object, nodes: object, servers: int) -> None:
    names = list(hosts) if isinstance(hosts, list | tuple) else [None]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise UsageError(f"hosts={hosts!r}: a list of the names of hosts, each once")
    if nodes is not None and not (is_whole(nodes) and nodes >= 1):  # type: ignore[operator]
        raise UsageError(f"nodes={nodes!r}: must be a whole number of at least 1")
    if names and nodes is not None:
        raise UsageError(f"hosts={hosts!r} says on which hosts, nodes={nodes!r} on how many: give one")
    count = len(names) or nodes or 1
    if count > servers:  # type: ignore[operator]
        raise UsageError(f"{count} hosts for {servers} server(s): some would have none; give fewer")


def _check_on_failure(said: object, replicas: int) -> None:
    if said not in ON_SHARD_FAILURE:
        raise UsageError(f"on_shard_failure={said!r}: one of {', '.join(ON_SHARD_FAILURE)}")
    if said == "promote" and not replicas:
        raise UsageError('on_shard_failure="promote" needs replicas=1 or more, which it promotes')
    if said == "restart" and replicas:
        raise UsageError(
            'on_shard_failure="restart" with replicas would throw away what they have; "promote" keeps it'
        )


def _check_module(module: object) -> None:
    words = module if isinstance(module, Sequence) and not isinstance(module, str) else [None]
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"module={module!r}: a list of text, its path and its arguments; () for none")
