"""What SmartRedis' API has no call for, asked of the database by redis-py.

Each call opens a connection of its own and leaves; none of them is made once a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.cluster import RedisCluster

from sim_clients import keys, spill
from sim_clients.address import Address
from sim_clients.errors import DatabaseFull, DatabaseUnavailable, SnapshotError

TIMEOUT_S = 5.0
_TENSOR_NAMES = b".tensor_names"
_SPILLED = b".spilled"
_LENGTH_BYTES = 8


def offer_contract(address: Address, stream: str, text: str) -> str:
    """Offer a contract for a stream, and return the one that holds: this one, or what was offered before."""
    key = keys.contract(stream)
    with connection(address, "agree on the fields of a stream", key) as database:
        while (held := read_text(database.get(key))) is None:
            database.set(key, text, nx=True)
    return held


def contract(address: Address, stream: str) -> str | None:
    """Return the contract of a stream, None where it has none."""
    key = keys.contract(stream)
    with connection(address, "ask for the contract of a stream", key) as database:
        return read_text(database.get(key))


def entries(address: Address, stream: str, first: int) -> list[str]:
    """Return the entries of a stream from a position on."""
    with connection(address, "list the snapshots of a stream", stream) as database:
        return [entry.decode() for entry in database.lrange(stream, first, -1)]


def forget(address: Address, stream: str) -> None:
    """Remove the snapshots of a stream and their files, all that is kept of it, and the flags of its ends."""
    with connection(address, "forget a stream", stream) as database:
        for entry in [entry.decode() for entry in database.lrange(stream, 0, -1)]:
            fields = [keys.tensor(entry, name) for name in tensor_names(database, entry) or ()]
            spilled = database.hget(keys.metadata(entry), _SPILLED)
            database.unlink(keys.metadata(entry), *fields)
            with suppress(SnapshotError):  # somebody's dataset that has no rank, and so no end
                name = keys.parse_snapshot(entry)
                database.unlink(keys.flag(keys.ended(stream, name.producer, name.rank)))
                if spilled is not None:
                    spill.remove(Path(string_list(spilled)[1]), stream, str(name))
        database.unlink(stream)
        database.unlink(*keys.beside(stream))
        database.unlink(keys.contract(stream))


def tensor_names(database: Any, entry: str) -> list[str] | None:
    """Return the names of a dataset's tensors, None where the database does not have it."""
    packed = database.hget(keys.metadata(entry), _TENSOR_NAMES)
    return None if packed is None else string_list(packed)


def string_list(packed: bytes) -> list[str]:
    """Unpack SmartRedis' form of a list of strings: one type byte, then each length (64 bit) and text."""
    texts, offset = [], 1
    while offset < len(packed):
        start = offset + _LENGTH_BYTES
        length = int.from_bytes(packed[offset:start], "little")
        texts.append(packed[start : start + length].decode())
        offset = start + length
    return texts


def read_text(reply: bytes | None) -> str | None:
    """Return a reply as text."""
    return None if reply is None else reply.decode(errors="replace")


@contextmanager
def connection(address: Address, doing: str, key: str) -> Iterator[Any]:
    """Connect, and leave at the end.

    Args:
        address: of the database.
        doing, key: for errors.

    Raises:
        DatabaseFull, DatabaseUnavailable
    """
    try:
        database = _connect(address)
        try:
            yield database
        finally:
            database.close()
    except redis.exceptions.OutOfMemoryError as error:
        raise DatabaseFull(key, str(error)) from error
    except redis.RedisError as error:
        raise DatabaseUnavailable(str(address), doing, str(error)) from error


def _connect(address: Address) -> Any:
    if address.unix_socket is not None:
        return redis.Redis(unix_socket_path=str(address.unix_socket), socket_timeout=TIMEOUT_S)
    endpoint = address.endpoints[0]
    if address.clustered:
        return RedisCluster(host=endpoint.host, port=endpoint.port, socket_timeout=TIMEOUT_S)
    return redis.Redis(endpoint.host, endpoint.port, socket_timeout=TIMEOUT_S)
