"""The one line by which a program gets its client."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sim_clients.address import Address
from sim_clients.client import Client
from sim_clients.errors import UnsupportedClientError
from sim_clients.identity import Identity, from_environment
from sim_clients.native_library import cached_library

CLIENT_VARIABLE = "PENSTOCK_CLIENT"
"""Names the client of all programs that see it: `native` or `smartredis`."""
NATIVE, SMARTREDIS = "native", "smartredis"


def connect(
    address: Address | None = None,
    *,
    producer: str | None = None,
    rank: int | None = None,
    client: str | None = None,
) -> Client:
    """Connect to the database.

    Args:
        address: where it is; the environment says so in a program that Penstock started.
        producer: name to announce snapshots under; the environment's PENSTOCK_NAME by default.
        rank: rank within the producer; what MPI says by default.
        client: `native`, over our C library, or `smartredis`, over its wheel; the environment's
            PENSTOCK_CLIENT by default, else the native one where it has been built.

    Raises:
        AddressError: the environment names no database.
        DatabaseUnavailable: it does not answer.
        UnsupportedClientError: the client is not installed, or would return wrong numbers here.
    """
    known = from_environment()
    identity = Identity(
        known.producer if producer is None else producer, known.rank if rank is None else rank
    )
    where = Address.from_environment() if address is None else address
    # Below and not above: the launcher imports this package for its addresses and needs no client library.
    if chosen_client(client, os.environ) == NATIVE:
        from sim_clients.native_client import NativeClient  # noqa: PLC0415

        return NativeClient(where, identity)
    from sim_clients.smartredis_client import SmartRedisClient  # noqa: PLC0415

    return SmartRedisClient(where, identity)


def chosen_client(asked: str | None, environ: Mapping[str, str]) -> str:
    """Return which client is to be used: that which is asked for, else the native one where it is built.

    Raises:
        UnsupportedClientError: there is none of this name.
    """
    name = environ.get(CLIENT_VARIABLE) if asked is None else asked
    if not name:
        return NATIVE if cached_library() else SMARTREDIS
    if name not in (NATIVE, SMARTREDIS):
        raise UnsupportedClientError(f"there is no client {name!r}: use {NATIVE!r} or {SMARTREDIS!r}")
    return name
