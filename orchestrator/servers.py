"""How the servers of a database are started: the exact command of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from orchestrator.launchers.base import Launch
from orchestrator.node import Node
from orchestrator.redis_config import (
    RedisConfig,
    largest_string_bytes,
    redis_argv,
    redis_environment,
)
from orchestrator.run_files import log_of


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
        memory_bytes = node.memory_bytes or psutil.virtual_memory().total
        argv = redis_argv(
            self.executable,
            self.config,
            node.endpoint,
            directory=node.directory,
            largest_bytes=largest_string_bytes(self.config, memory_bytes),
            load_arguments=self.loaded,
            clustered=self.clustered,
            announced_port=announced_port,
        )
        environment = redis_environment(self.config)
        return Launch(node.name, argv, node.directory, log_of(node.directory), environment)
