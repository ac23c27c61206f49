"""The one line by which a program gets its client."""

from __future__ import annotations

from sim_clients.address import Address
from sim_clients.client import Client
from sim_clients.identity import Identity, from_environment


def connect(
    address: Address | None = None, *, producer: str | None = None, rank: int | None = None
) -> Client:
    """Connect to the database.

    Args:
        address: where it is; the environment says so in a program that Penstock started.
        producer: name to announce snapshots under; the environment's PENSTOCK_NAME by default.
        rank: rank within the producer; what MPI says by default.

    Raises:
        AddressError: the environment names no database.
        DatabaseUnavailable: it does not answer.
        UnsupportedClientError: the installed client library would return wrong numbers.
    """
    # Here and not above: the launcher imports this package for its addresses and needs no client library.
    from sim_clients.smartredis_client import SmartRedisClient  # noqa: PLC0415

    known = from_environment()
    identity = Identity(
        known.producer if producer is None else producer, known.rank if rank is None else rank
    )
    return SmartRedisClient(Address.from_environment() if address is None else address, identity)
