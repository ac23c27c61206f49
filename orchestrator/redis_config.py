"""RedisConfig: how a shard is set up, and the exact command and environment that say so. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import UsageError

MAX_STRING_BYTES = 1 << 40
"""The largest tensor a shard accepts. Redis's own limit of 512 MB is small for a field."""

OWN_OPTIONS = frozenset(
    {"port", "bind", "unixsocket", "unixsocketperm", "dir", "daemonize", "logfile", "loadmodule", "save"}
    | {"appendonly", "maxmemory", "maxmemory-policy", "cluster-enabled", "cluster-config-file"}
    | {"set-proc-title", "protected-mode"}
)
"""Options that Penstock gives itself, so that `extra_args` may not."""


@dataclass(frozen=True)
class RedisConfig:
    """How each shard is set up.

    Attributes:
        maxmemory_bytes: 0 is no limit. At the limit writes fail; nothing is ever evicted.
        append_only: log every write to disk, to survive a crash of the server.
        huge_pages: ask the allocators for huge pages and to keep freed memory: large tensors are bound by
            page faults, and go about twice as fast for more resident memory.
        cluster_node_timeout_ms: how long a shard may be silent before the others call it failed.
        extra_args: further options of redis-server, name then value, for example ["--hz", "100"].
    """

    maxmemory_bytes: int = 0
    append_only: bool = False
    huge_pages: bool = True
    cluster_node_timeout_ms: int = 15_000
    extra_args: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.maxmemory_bytes < 0:
            raise UsageError(f"RedisConfig(maxmemory_bytes={self.maxmemory_bytes}): must not be negative")
        if self.cluster_node_timeout_ms < 1:
            raise UsageError(
                f"RedisConfig(cluster_node_timeout_ms={self.cluster_node_timeout_ms}): at least 1"
            )
        object.__setattr__(self, "extra_args", tuple(self.extra_args))
        for option in self.extra_args:
            if option.startswith("--") and option[2:].lower() in OWN_OPTIONS:
                raise UsageError(f"RedisConfig(extra_args): {option} is given by Penstock itself")


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
    load_arguments: Sequence[str] = (),
    clustered: bool = False,
) -> tuple[str, ...]:
    """Return the exact command of one shard.

    `set-proc-title no` keeps the environment readable in /proc, by which a run finds what it started.

    Args:
        executable: the redis-server to run.
        config: how the shard is set up.
        endpoint: where it listens, and nowhere else.
        directory: its working directory.
        load_arguments: path of the database module and its arguments; empty for a plain Redis.
        clustered: whether it is one of several shards.
    """
    return (
        executable,
        *_listening(endpoint),
        *("--dir", str(directory), "--daemonize", "no", "--set-proc-title", "no"),
        *("--save", "", "--appendonly", "yes" if config.append_only else "no"),
        *(
            "--proto-max-bulk-len",
            str(MAX_STRING_BYTES),
            "--client-query-buffer-limit",
            str(MAX_STRING_BYTES),
        ),
        *("--maxmemory", str(config.maxmemory_bytes), "--maxmemory-policy", "noeviction"),
        *("--disable-thp", "no" if config.huge_pages else "yes"),
        *(_clustering(config, endpoint) if clustered else ()),
        *config.extra_args,
        *(("--loadmodule", *load_arguments) if load_arguments else ()),
    )


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


def _clustering(config: RedisConfig, endpoint: Endpoint) -> tuple[str, ...]:
    return (
        *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
        *("--cluster-announce-ip", endpoint.host),
        *("--cluster-node-timeout", str(config.cluster_node_timeout_ms)),
    )
