"""What the SmartRedis library reads from the environment while a client is made, and what we give it.

The library takes everything from environment variables. We set them for the moment of construction and put
back what was there. What the user has set with an `SR_` name of SmartRedis wins.

| variable | ours | SmartRedis' own |
|---|---|---|
| SR_CMD_TIMEOUT, SR_CONN_TIMEOUT | 5 s: a database that has gone is reported, not waited for | 100 s |
| SR_CMD_INTERVAL, SR_CONN_INTERVAL | 100 ms | 1000 ms |
| SR_SOCKET_TIMEOUT | 600 s (from `Address`): a slow command is not sent again | 250 ms |
| SR_LOG_LEVEL | QUIET: errors come as exceptions | INFO, on stdout |
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sim_clients.address import SOCKET_TIMEOUT_MS, Address

DEFAULTS = {
    "SR_SOCKET_TIMEOUT": str(SOCKET_TIMEOUT_MS),
    "SR_CMD_TIMEOUT": "5",
    "SR_CONN_TIMEOUT": "5",
    "SR_CMD_INTERVAL": "100",
    "SR_CONN_INTERVAL": "100",
    "SR_LOG_LEVEL": "QUIET",
}


def variables(address: Address, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what must stand in the environment while a client is made."""
    return {**address.environment(), **{name: environ.get(name, value) for name, value in DEFAULTS.items()}}


@contextmanager
def environment_for(address: Address) -> Iterator[None]:
    """Set the environment for the construction of a client, and put it back."""
    wanted = variables(address, os.environ)
    before = {name: os.environ.get(name) for name in wanted}
    _apply(wanted)
    try:
        yield
    finally:
        _apply(before)


def _apply(values: Mapping[str, str | None] | Mapping[str, str]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
