"""RedisConfig: how a shard is set up, and the exact command and environment that say so. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.policy import is_time
from orchestrator.ports import BUS_OFFSET

UNLIMITED_BYTES = 1 << 40
SLOT_MAP = "nodes.conf"
"""In a node's directory: what it knows of its cluster."""
DUMP = "dump.rdb"
"""In a node's directory: its data as it was last saved; a node that starts reads it."""
NO_MIGRATION = 1_000
"""More replicas than a shard can have: none changes to another shard by itself."""
LEAST_BYTES = 1 << 20
"""Redis accepts no smaller limit of an argument's length."""

OPTION = re.compile(r"--[a-z][a-z0-9-]*", re.IGNORECASE)
NEVER = frozenset(
    {"--include", "--logfile", "--sentinel", "--replicaof", "--slaveof"}
    | {"--tls-port", "--bind-source-addr", "--cluster-port", "--cluster-announce-port"}
)
"""Options beside those that Penstock gives itself by which a shard would be another, or found elsewhere."""

DEFAULTS = frozenset({"--appendfsync"})
"""Options that Penstock gives and the user may give again: the last one counts."""


@dataclass(frozen=True)
class RedisConfig:
    """How each shard is set up.

    Attributes:
        maxmemory_bytes: 0 is no limit. At the limit writes fail; nothing is ever evicted.
        append_only: log every write before it is answered, to survive the end of the server. The system
            brings the log to disk in its own time; extra_args ["--appendfsync", "always"] waits for that.
        huge_pages: ask the allocators for huge pages and to keep freed memory: large tensors are bound by
            page faults, and go about twice as fast for more resident memory.
        shared_memory_mb: of each shard, for tensors of programs on its host that run as the same user: they
            put and get them without the socket. It is taken from the system as it is used, and beside what
            `maxmemory_bytes` limits. 0 is none. None: half the host's memory where the database listens on a
            Unix socket only and has no limit, else none.
        cluster_node_timeout_ms: how long a shard may be silent before the others call it failed.
        unresponsive_s: how long a server may neither answer nor work before it is taken for dead; None: for
            ever. One that the others of its cluster call failed is before that, unless it works.
        extra_args: further options of redis-server, name then value, for example ["--hz", "100"].
    """

    maxmemory_bytes: int = 0
    append_only: bool = False
    huge_pages: bool = True
    shared_memory_mb: int | None = None
    cluster_node_timeout_ms: int = 15_000
    unresponsive_s: float | None = 300.0
    extra_args: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name, least in (("maxmemory_bytes", 0), ("cluster_node_timeout_ms", 1)):
            value = getattr(self, name)
            if not is_whole(value) or value < least:
                raise UsageError(f"RedisConfig({name}={value!r}): must be a whole number of at least {least}")
        if self.shared_memory_mb is not None and not (
            is_whole(self.shared_memory_mb) and self.shared_memory_mb >= 0
        ):
            raise UsageError(
                f"RedisConfig(shared_memory_mb={self.shared_memory_mb!r}): must be a whole number of MB, 0 "
                "for none, or None"
            )
        if self.unresponsive_s is not None and not (is_time(self.unresponsive_s) and self.unresponsive_s > 0):
            raise UsageError(
                f"RedisConfig(unresponsive_s={self.unresponsive_s!r}): must be a number of seconds above 0, "
                "or None"
            )
        _check_options(self.extra_args)
        object.__setattr__(self, "extra_args", tuple(self.extra_args))


def is_whole(number: object) -> bool:
    """Tell whether it is an integer; True and False are none."""
    return isinstance(number, int) and not isinstance(number, bool)


def sharing_arguments(config: RedisConfig, *, private: bool) -> tuple[str, ...]:
    """Return our module's arguments that say how much memory a shard shares.

    Args:
        config: how the shard is set up.
        private: whether it listens on a Unix socket only, so that its clients are on its host.
    """
    if config.shared_memory_mb is None:
        return ("ARENA", "auto") if private and not config.maxmemory_bytes else ()
    return ("ARENA", str(config.shared_memory_mb)) if config.shared_memory_mb else ()


def check_shared_memory(config: RedisConfig, memory_bytes: int, shards: int, host: str) -> None:
    """Refuse shared memory that a host does not have.

    Args:
        config: how each shard is set up.
        memory_bytes: of the host.
        shards: how many servers are on it.
        host: its name.

    Raises:
        UsageError
    """
    wanted = (config.shared_memory_mb or 0) * shards
    if wanted > memory_bytes >> 20:
        each = f" for each of {shards} servers" if shards > 1 else ""
        raise UsageError(
            f"RedisConfig(shared_memory_mb={config.shared_memory_mb}){each} is more than the memory of "
            f"{host}, {memory_bytes >> 20} MB"
        )


def _check_options(options: Sequence[str]) -> None:
    """Refuse what is no list of options and values, and options that are not for the user to give."""
    where = "RedisConfig(extra_args)"
    if isinstance(options, str) or not isinstance(options, Sequence):
        raise UsageError(f'{where}: {options!r} is no list; give ["--hz", "100"], each word an item')
    for option in options:
        if not isinstance(option, str):
            raise UsageError(f"{where}: {option!r} is no text")
        if option.startswith("--") and not OPTION.fullmatch(option):
            raise UsageError(f"{where}: {option!r} is no name of an option; its value is an item of its own")
        if option.lower() in _own_options() - DEFAULTS | NEVER:
            raise UsageError(f"{where}: {option} is given by Penstock itself")
    if options and not options[0].startswith("--"):
        raise UsageError(f"{where}: {options[0]!r} stands before the first option; options begin with --")


@dataclass(frozen=True)
class Endpoint:
    """Where one shard listens: either a Unix socket, or a port of one host address."""

    host: str = ""
    port: int = 0
    unix_socket: Path | None = None

    def __str__(self) -> str:
        """Return it as a person would write it."""
        return f"unix://{self.unix_socket}" if self.unix_socket else f"{self.host}:{self.port}"


def redis_argv(
    executable: str,
    config: RedisConfig,
    endpoint: Endpoint,
    *,
    directory: Path,
    largest_bytes: int,
    load_arguments: Sequence[str] = (),
    clustered: bool = False,
    announced_port: int | None = None,
) -> tuple[str, ...]:
    """Return the exact command of one shard.

    `set-proc-title no` keeps the environment readable in /proc, by which a run finds what it started.

    Args:
        executable: the redis-server to run.
        config: how the shard is set up.
        endpoint: where it listens, and nowhere else.
        directory: its working directory.
        largest_bytes: the longest argument it accepts; Redis allocates what a client declares.
        load_arguments: path of the database module and its arguments; empty for a plain Redis.
        clustered: whether it is one of several shards.
        announced_port: where it is going to listen, if that is not where it does at first.
    """
    return (
        executable,
        *_listening(endpoint),
        *("--dir", str(directory), "--daemonize", "no", "--set-proc-title", "no"),
        *("--save", "", "--appendonly", "yes" if config.append_only else "no"),
        # Redis's default, everysec, answers without writing while the disk is busy: what dies then is lost.
        *("--appendfsync", "no"),
        *("--proto-max-bulk-len", str(largest_bytes), "--client-query-buffer-limit", str(UNLIMITED_BYTES)),
        *("--maxmemory", str(config.maxmemory_bytes), "--maxmemory-policy", "noeviction"),
        *allocator_options(config),
        *(_clustering(config, endpoint, largest_bytes, announced_port) if clustered else ()),
        *config.extra_args,
        *(("--loadmodule", *load_arguments) if load_arguments else ()),
    )


def largest_string_bytes(config: RedisConfig, memory_bytes: int) -> int:
    """Return the largest tensor a shard accepts. Redis's own limit of 512 MB is small for a field.

    Half the host's memory: a tensor and one copy of it fit, and a length that was sent by mistake is refused
    instead of allocated.

    Args:
        config: how the shard is set up.
        memory_bytes: of the host.
    """
    return max(LEAST_BYTES, min(config.maxmemory_bytes or UNLIMITED_BYTES, memory_bytes // 2))


@cache
def _own_options() -> frozenset[str]:
    """Return the options that the command of a shard has already, whatever its kind."""
    endpoints = Endpoint("127.0.0.1", 1), Endpoint(unix_socket=Path("/"))
    commands = (
        redis_argv(
            "", RedisConfig(), at, directory=Path("/"), largest_bytes=1, load_arguments=("",), clustered=True
        )
        for at in endpoints
    )
    return frozenset(word for argv in commands for word in argv if word.startswith("--"))


def allocator_options(config: RedisConfig) -> tuple[str, ...]:
    """Return redis-server's own options that go with `redis_environment`.

    jemalloc's background thread has nothing to do where freed memory is kept, and yet it is woken by what is
    freed: every run of a network costs two changes of threads more.
    """
    if not config.huge_pages:
        return ("--disable-thp", "yes")
    return ("--disable-thp", "no", "--jemalloc-bg-thread", "no")


def redis_environment(config: RedisConfig) -> Mapping[str, str]:
    """Return the allocator settings of one shard, for jemalloc and for libc's malloc.

    Which of the two a redis-server uses depends on who built it; each ignores the other's variables.
    """
    if not config.huge_pages:
        return {}
    kept = str(1 << 30)
    return {
        "MALLOC_CONF": "thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1",
        "MALLOC_MMAP_THRESHOLD_": kept,
        "MALLOC_TRIM_THRESHOLD_": kept,
        "MALLOC_TOP_PAD_": str(64 << 20),
    }


def _listening(endpoint: Endpoint) -> tuple[str, ...]:
    if endpoint.unix_socket is not None:
        return ("--port", "0", "--unixsocket", str(endpoint.unix_socket), "--unixsocketperm", "600")
    # An open port is asked for by name and checked before; Redis's own guard would refuse the other hosts.
    return ("--bind", endpoint.host, "--port", str(endpoint.port), "--protected-mode", "no")


def _clustering(
    config: RedisConfig, endpoint: Endpoint, largest_bytes: int, announced_port: int | None
) -> tuple[str, ...]:
    """Replicas get their first copy at once and as a stream; only the run decides that one is promoted."""
    # Its bus stays where it is when a server changes its port.
    return (
        *("--cluster-enabled", "yes", "--cluster-config-file", SLOT_MAP),
        *("--cluster-announce-ip", endpoint.host),
        *(("--cluster-announce-port", str(announced_port)) if announced_port is not None else ()),
        *("--cluster-announce-bus-port", str(endpoint.port + BUS_OFFSET)),
        *("--cluster-node-timeout", str(config.cluster_node_timeout_ms)),
        *("--cluster-replica-no-failover", "yes", "--cluster-migration-barrier", str(NO_MIGRATION)),
        *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
        *("--client-output-buffer-limit", "replica", str(largest_bytes), "0", "0"),
    )
