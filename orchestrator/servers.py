"""How the servers of a database are started: the exact command of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from orchestrator.launchers.base import Launch
from orchestrator.node import Node
from orchestrator.redis_config import (
    RedisConfig,
    check_shared_memory,
    largest_string_bytes,
    redis_argv,
    redis_environment,
)
from orchestrator.run_files import log_of


def memory_of(node: Node) -> int:
    """Return the bytes of memory of a server's host."""
    return node.memory_bytes or psutil.virtual_memory().total


def check_memory(config: RedisConfig, nodes: Sequence[Node]) -> None:
    """Refuse servers that share more memory than their hosts have.

    Raises:
        UsageError
    """
    counts = Counter(node.endpoint.host for node in nodes)
    for node in nodes:
        host = node.endpoint.host or "this host"
        check_shared_memory(config, memory_of(node), counts[node.endpoint.host], host)


@dataclass(frozen=True)
class ServerCommand:
    """What the commands of all servers of one database have in common.

    Attributes:
        executable: the redis-server.
        config: how each is set up.
        loaded: the module and its arguments.
        clustered: whether they are a cluster.
    """

    executable: str
    config: RedisConfig
    loaded: Sequence[str]
    clustered: bool

    def launch(self, node: Node, announced_port: int | None = None) -> Launch:
        """Return how one of them is started.

        Args:
            node: the server.
            announced_port: where it is going to listen, if that is not where it does at first.
        """
        argv = redis_argv(
            self.executable,
            self.config,
            node.endpoint,
            directory=node.directory,
            largest_bytes=largest_string_bytes(self.config, memory_of(node)),
            load_arguments=self.loaded,
            clustered=self.clustered,
            announced_port=announced_port,
        )
        environment = redis_environment(self.config)
        return Launch(node.name, argv, node.directory, log_of(node.directory), environment)
