"""One node of a shard, spoken to over redis-py: the only file of the orchestrator that imports it.

The orchestrator asks whether a shard is ready, assigns slots and ends it. It never moves field data.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from orchestrator.redis_config import Endpoint

READY_BYTES = bytes(range(16))
REPLY_TIMEOUT_S = 10.0

ShardError = RedisError
"""What a shard that does not answer, or refuses, raises here."""
RefusedError = redis.ResponseError
"""What one that refuses raises."""


class Shard:
    """A connection to one shard. Connects when it is first used."""

    def __init__(self, endpoint: Endpoint, *, timeout_s: float = REPLY_TIMEOUT_S) -> None:
        self.endpoint = endpoint
        options: dict[str, Any] = {
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
        }
        connect: Any = redis.Connection  # redis-py leaves its connections untyped
        place: dict[str, Any] = {"host": endpoint.host, "port": endpoint.port}
        if endpoint.unix_socket is not None:
            connect, place = redis.UnixDomainSocketConnection, {"path": str(endpoint.unix_socket)}
        self._connection = connect(**place, **options)

    def __enter__(self) -> Shard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the shard."""
        self._connection.disconnect()

    def command(self, *words: str | bytes | int) -> Any:
        """Send any command and return its reply as it comes."""
        self._connection.send_command(*words)
        return self._connection.read_response()

    def answers(self) -> bool:
        """Tell whether the shard answers; False while it starts."""
        try:
            self.command("PING")
        except redis.AuthenticationError:
            raise
        except redis.ConnectionError:  # also while it loads
            return False
        return True

    def ask(self) -> None:
        """Send a PING and do not wait for the answer.

        Raises:
            TimeoutError: nobody took the connection.
        """
        try:
            self._connection.send_command("PING")
        except redis.TimeoutError as error:
            raise TimeoutError("the connection was not taken") from error

    def has_answered(self) -> bool:
        """Tell whether what was asked has an answer, whatever that is, and take it."""
        if not self._connection.can_read(timeout=0):
            return False
        # that it loads or is busy is an answer too
        with suppress(redis.ResponseError, redis.BusyLoadingError):
            self._connection.read_response()
        return True

    def runs_in(self, directory: Path) -> bool:
        """Tell whether the server that answers is the one whose working directory this is."""
        try:
            _, told = self.command("CONFIG GET", "dir")
        except RedisError:  # it starts, or is somebody else's
            return False
        return Path(told.decode()).resolve() == directory.resolve()

    def facts(self, *section: str) -> dict[str, str]:
        """Return what INFO tells, or one section of it, name -> text."""
        lines = self.command("INFO", *section).decode(errors="replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def modules(self) -> dict[str, int]:
        """Return the version of each loaded module."""
        known = (dict(zip(each[::2], each[1::2], strict=True)) for each in self.command("MODULE LIST"))
        return {each[b"name"].decode(): int(each[b"ver"]) for each in known}

    def begin_save(self) -> bool:
        """Begin to save to disk; False where it is not the time, since a copy of the server is at work."""
        try:
            self.command("BGSAVE")
        except redis.ResponseError as error:
            if "in progress" in str(error) or "child process" in str(error):
                return False
            raise
        return True

    def has_saved(self) -> bool:
        """Tell whether it is not, or no longer, saving to disk."""
        return self.facts()["rdb_bgsave_in_progress"] == "0"

    def saved_well(self) -> bool:
        """Tell whether what was last saved to disk is there."""
        return self.facts()["rdb_last_bgsave_status"] == "ok"

    def log_writes(self) -> None:
        """Log every write to disk from now on, all that there is first; does not wait for that."""
        self.command("CONFIG SET", "appendonly", "yes")

    def has_logged(self) -> bool:
        """Tell whether all that there is stands in the log of writes."""
        facts = self.facts()
        busy = facts["aof_rewrite_in_progress"] == "1" or facts["aof_rewrite_scheduled"] == "1"
        return facts["aof_enabled"] == "1" and not busy and facts["aof_last_bgrewrite_status"] == "ok"

    def store(self, key: str, *, tensor: bool) -> None:
        """Store a small tensor; a string in a Redis without the module."""
        if tensor:
            self.command("AI.TENSORSET", key, "UINT8", len(READY_BYTES), "BLOB", READY_BYTES)
        else:
            self.command("SET", key, READY_BYTES)

    def has_stored(self, key: str, *, tensor: bool) -> bool:
        """Tell whether the bytes that `store` stores are there, on a primary or a replica."""
        if not tensor:
            return bool(self.command("GET", key) == READY_BYTES)
        if not self.command("EXISTS", key):
            return False
        return READY_BYTES in list(self.command("AI.TENSORGET", key, "META", "BLOB"))

    def remove(self, key: str) -> None:
        """Remove what was stored."""
        self.command("DEL", key)

    def serve_reads(self) -> None:
        """Let this connection read from a replica."""
        self.command("READONLY")

    def follows(self) -> bool:
        """Tell whether this replica has all that its primary had, and hears of what comes."""
        return b"master_link_status:up" in self.command("INFO", "replication")

    def take_over(self) -> None:
        """Make this replica the primary of its shard, whatever the others think."""
        self.command("CLUSTER FAILOVER", "TAKEOVER")

    def listen_on(self, port: int) -> None:
        """Let it listen on another port from now on. This connection stays."""
        self.command("CONFIG SET", "port", port)

    def announce(self, port: int) -> None:
        """Let it name another port as its own to the cluster's clients, and in time to the other nodes."""
        self.command("CONFIG SET", "cluster-announce-port", port)

    def look_at(self, other: Endpoint, bus_port: int) -> None:
        """Let it see now that a node it knows has another address."""
        self.command("CLUSTER MEET", other.host, other.port, bus_port)

    def forget(self, identities: Iterable[str]) -> None:
        """Let it know some nodes no more."""
        for identity in identities:
            self.command("CLUSTER FORGET", identity)

    def cluster_is_ok(self) -> bool:
        """Tell whether this shard takes the cluster for complete."""
        return b"cluster_state:ok" in self.command("CLUSTER INFO")

    def failed_nodes(self) -> set[str]:
        """Return the identities of the nodes that most primaries of the cluster call failed."""
        lines = self.command("CLUSTER NODES").decode().splitlines()
        return {words[0] for words in map(str.split, lines) if "fail" in words[2].split(",")}

    def slot_owners(self) -> dict[tuple[int, int], tuple[str, int]]:
        """Return (first, last slot) -> host and port of the owner, as this node sees it."""
        reply = self.command("CLUSTER SLOTS")
        return {(first, last): (host.decode(), port) for first, last, (host, port, *_), *_ in reply}

    def ask_to_end(self) -> None:
        """Tell the shard to end at once, without saving, and do not wait for it."""
        self._connection.send_command("SHUTDOWN", "NOSAVE")
