"""How the servers of a database are started: the exact command of each, and where it listens at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psutil

from orchestrator.launchers.base import Launch
from orchestrator.node import Node
from orchestrator.ports import free_ports
from orchestrator.redis_config import (
    Endpoint,
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
        argv = redis_argv(
            self.executable,
            self.config,
            node.endpoint,
            directory=node.directory,
            largest_bytes=largest_string_bytes(self.config, psutil.virtual_memory().total),
            load_arguments=self.loaded,
            clustered=self.clustered,
            announced_port=announced_port,
        )
        environment = redis_environment(self.config)
        return Launch(node.name, argv, node.directory, log_of(node.directory), environment)

    def hidden(self, node: Node) -> Node:
        """Return a server that is to start again, where no client looks for it until it has its data.

        SmartRedis tries again where nothing listens, and gives up where a server answers that it is loading,
        or that its cluster is down.
        """
        at = node.endpoint
        if at.unix_socket is not None:
            return replace(node, endpoint=Endpoint(unix_socket=at.unix_socket.with_suffix(".new")))
        (port,) = free_ports(at.host, 1, with_bus=self.clustered)
        return replace(node, endpoint=Endpoint(at.host, port))
