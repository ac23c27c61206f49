"""A client of the arena, as small as it can be: a connection, a mapping, the commands of docs/commands.md."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import redis

from tests.integration.ai_commands import ALL_TYPES, NAMES
from tests.integration.servers import RedisServer, wait_until

HEAD = 40
"""Bytes at the start of the arena that say whose it is."""


class ArenaClient:
    """One connection of this process, and its mapping of the server's arena.

    Attributes:
        db: the connection, which alone is used.
        connection: the server's number of it.
        identity: of the arena.
        taken: the offsets that were taken over from `former`.
    """

    def __init__(self, server: RedisServer, former: ArenaClient | None = None) -> None:
        self.db: redis.Redis = server.connect(single_connection_client=True)
        words = () if former is None else ("FORMER", former.connection, former.identity)
        path, size, self.identity, self.connection, self.taken = self.db.execute_command(
            "PENSTOCK.ARENA", "PID", os.getpid(), *words
        )
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.memory = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        assert self.memory[:HEAD] == b"PENSTOCK" + self.identity
        self.path = Path(path.decode())

    def __enter__(self) -> ArenaClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()

    def lease(self, size: int, *timeout: Any) -> int:
        """Return the offset of a block that this client may write."""
        return int(self.db.execute_command("PENSTOCK.LEASE", size, *timeout))

    def write(self, offset: int, array: np.ndarray[Any, Any]) -> None:
        blob = array.tobytes()
        self.memory[offset : offset + len(blob)] = blob

    def commit(self, key: str, array: np.ndarray[Any, Any], offset: int, *lease: Any) -> Any:
        """Make what lies at the offset a tensor; returns the reply."""
        return self.db.execute_command(
            "PENSTOCK.PUT", key, NAMES[array.dtype], *array.shape, "OFFSET", offset, *lease
        )

    def put(self, key: str, array: np.ndarray[Any, Any]) -> None:
        offset = self.lease(array.nbytes, "TIMEOUT", 60_000)
        self.write(offset, array)
        assert self.commit(key, array, offset) == b"OK"

    def map(self, key: str) -> tuple[np.ndarray[Any, Any], int]:
        """Return a tensor where it lies, read-only, and its offset, which is to be released."""
        dtype, shape, offset, size = self.db.execute_command("PENSTOCK.MAP", key)
        view = memoryview(self.memory)[offset : offset + size].toreadonly()
        return np.frombuffer(view, ALL_TYPES[dtype.decode()]).reshape(shape), offset

    def release(self, *offsets: int) -> None:
        assert self.db.execute_command("PENSTOCK.RELEASE", *offsets) == b"OK"


def arena(db: redis.Redis) -> dict[str, int]:
    """Return what INFO says of the arena, without its prefix."""
    facts = db.info("modules")
    return {name[len("ai_arena_") :]: v for name, v in facts.items() if name.startswith("ai_arena_")}


def wait_for(db: redis.Redis, **wanted: int) -> None:
    """Wait until INFO says so of the arena."""
    wait_until(
        lambda: all(arena(db)[name] == value for name, value in wanted.items()),
        f"the arena to have {wanted}; it has {arena(db)}",
    )
