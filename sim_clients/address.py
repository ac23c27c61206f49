"""Where a database is: the one place that spells `SSDB` and its companions.

The variables are those of SmartRedis, so every SmartRedis program in any language finds a database that
Penstock started. An identifier `x` adds the suffix `_x` to each of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sim_clients.errors import AddressError

UNIX_SCHEME = "unix://"
SOCKET_TIMEOUT_MS = 600_000
"""What the environment gives SmartRedis as socket timeout. Its default of 250 ms repeats slow commands."""


@dataclass(frozen=True)
class HostPort:
    """One shard's TCP endpoint."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Address:
    """A ready database: either one Unix socket, or one or more TCP endpoints.

    Attributes:
        endpoints: the shards' TCP endpoints, empty when `unix_socket` is given.
        unix_socket: path of the Unix socket; standalone databases only.
        clustered: True when keys are spread over several shards by hash slot.
    """

    endpoints: tuple[HostPort, ...] = ()
    unix_socket: Path | None = None
    clustered: bool = False

    def __post_init__(self) -> None:
        if (self.unix_socket is None) == (not self.endpoints):
            raise AddressError(
                "an address is either a Unix socket or one or more host:port endpoints", str(self)
            )
        if self.clustered and self.unix_socket is not None:
            raise AddressError("a clustered database cannot be reached by a Unix socket", str(self))

    def __str__(self) -> str:
        """Return the value of `SSDB`."""
        if self.unix_socket is not None:
            return f"{UNIX_SCHEME}{self.unix_socket}"
        return ",".join(str(endpoint) for endpoint in self.endpoints)

    def environment(self, identifier: str = "") -> dict[str, str]:
        """Return the variables that lead a SmartRedis program to this database.

        Args:
            identifier: name of the database where a program uses several; empty for the only one.
        """
        suffix = f"_{identifier}" if identifier else ""
        return {
            f"SSDB{suffix}": str(self),
            f"SR_DB_TYPE{suffix}": "Clustered" if self.clustered else "Standalone",
            "SR_SOCKET_TIMEOUT": str(SOCKET_TIMEOUT_MS),
        }

    @classmethod
    def from_environment(cls, identifier: str = "", environ: Mapping[str, str] | None = None) -> Address:
        """Read an address from the environment.

        Raises:
            AddressError: the variable is missing or cannot be understood.
        """
        environ = os.environ if environ is None else environ
        suffix = f"_{identifier}" if identifier else ""
        text = environ.get(f"SSDB{suffix}", "").strip()
        if not text:
            raise AddressError(
                f"the environment has no SSDB{suffix}: start this program with exp.start(..., database=db), "
                f"or set SSDB{suffix}=host:port or SSDB{suffix}=unix://path",
                text,
            )
        clustered = environ.get(f"SR_DB_TYPE{suffix}", "Standalone").lower() == "clustered"
        return cls.parse(text, clustered=clustered)

    @classmethod
    def parse(cls, text: str, *, clustered: bool = False) -> Address:
        """Parse the value of `SSDB`: `host:port[,host:port…]` or `unix://path`.

        Raises:
            AddressError: naming the part that cannot be understood.
        """
        if text.startswith(UNIX_SCHEME):
            return cls(unix_socket=Path(text.removeprefix(UNIX_SCHEME)), clustered=clustered)
        return cls(endpoints=tuple(_endpoint(part, text) for part in text.split(",")), clustered=clustered)


def _endpoint(part: str, whole: str) -> HostPort:
    host, _, port = part.strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise AddressError(f"{part!r} is not host:port", whole)
    return HostPort(host, int(port))
