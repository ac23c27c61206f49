"""What is wrong with a snapshot that cannot be read: asked of the database itself, on the way to an error.

SmartRedis' API cannot tell: it either fails without naming a key or silently returns less. This file speaks
to Redis directly, only after a read has failed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.cluster import RedisCluster

from sim_clients import keys
from sim_clients.address import Address
from sim_clients.errors import DatabaseUnavailable
from sim_clients.spill import string_list

TIMEOUT_S = 5.0
_TENSOR_NAMES = b".tensor_names"
_SPILLED = b".spilled"


def announced(address: Address, stream: str, position: int) -> str | None:
    """Return the entry at a position of a stream, None where nothing is announced."""
    with _connection(address) as connection:
        entry = connection.lindex(stream, position)
    return None if entry is None else str(entry.decode())


def spilled_to(address: Address, entry: str) -> tuple[str, str, list[str]] | None:
    """Return the host, the directory and the fields of a dataset that was spilled to files, else None."""
    with _connection(address) as connection:
        place, names = connection.hmget(keys.metadata(entry), _SPILLED, _TENSOR_NAMES)
    if place is None or names is None:
        return None
    host, directory = string_list(place)
    return host, directory, string_list(names)


def time_of(address: Address, entry: str) -> float | None:
    """Return the physical time of a dataset, s, None where it has none."""
    with _connection(address) as connection:
        packed = connection.hget(keys.metadata(entry), keys.TIME_FIELD)
    return None if packed is None else float(struct.unpack("<d", packed[1:])[0])


def missing_fields(address: Address, entry: str) -> list[str] | None:
    """Return the fields that a dataset names and that are not in the database, sorted.

    Args:
        address: of the database.
        entry: of the dataset in a stream.

    Returns:
        None when the database does not have the dataset at all.
    """
    with _connection(address) as connection:
        names = connection.hget(keys.metadata(entry), _TENSOR_NAMES)
        if names is None:
            return None
        return sorted(name for name in string_list(names) if not connection.exists(keys.tensor(entry, name)))


@contextmanager
def _connection(address: Address) -> Iterator[Any]:
    try:
        connection = _connect(address)
        try:
            yield connection
        finally:
            connection.close()
    except redis.RedisError as error:
        raise DatabaseUnavailable(str(address), "look at a broken snapshot", str(error)) from error


def _connect(address: Address) -> Any:
    if address.unix_socket is not None:
        return redis.Redis(unix_socket_path=str(address.unix_socket), socket_timeout=TIMEOUT_S)
    endpoint = address.endpoints[0]
    if address.clustered:
        return RedisCluster(host=endpoint.host, port=endpoint.port, socket_timeout=TIMEOUT_S)
    return redis.Redis(endpoint.host, endpoint.port, socket_timeout=TIMEOUT_S)
