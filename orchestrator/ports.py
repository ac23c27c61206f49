"""Ports and interfaces of this host: what is free, and who listens."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from orchestrator.errors import PortError, UsageError

BUS_OFFSET = 10_000
"""The cluster bus of a shard listens on the shard's port plus this."""
HIGHEST_CLUSTER_PORT = 65_535 - BUS_OFFSET
LISTENING = "0A"
BY_HOST_NAME = "hostname"
"""In place of the name of an interface: the one to which the host's own name leads."""
ATTEMPTS = 200


def interface_address(interface: str) -> str:
    """Return the IPv4 address of a network interface.

    Args:
        interface: its name; or `hostname`: the one to which this host's own name leads, as other hosts of a
            cluster know it.

    Raises:
        UsageError: there is no such interface, or it has no such address; names those that do. Or the host's
            name leads to none that others reach.
    """
    found = _addresses()
    if interface == BY_HOST_NAME and interface not in found:
        return _address_of_name(socket.gethostname(), found)
    if interface not in found:
        raise UsageError(
            f"there is no network interface {interface!r} with an IPv4 address; there are: {', '.join(found)}"
        )
    return found[interface]


def _address_of_name(host: str, found: Mapping[str, str]) -> str:
    """Return the address to which this host's name leads; `found` has those of its interfaces."""
    try:
        address = socket.gethostbyname(host)
    except OSError as error:
        address, why = "", f"{host!r} has no address: {error}"
    else:
        why = f"{host!r} leads to {address}"
    if is_loopback(address) or address not in found.values():
        names = ", ".join(f"{name} ({at})" for name, at in found.items())
        raise UsageError(
            f"the interface {BY_HOST_NAME!r} is that of this host's name, and {why}, where no other host "
            f"reaches this one: name an interface, of {names}"
        )
    return address


def open_interfaces() -> dict[str, str]:
    """Return the network interfaces of this host that others may reach, and their IPv4 addresses."""
    up = {name for name, facts in psutil.net_if_stats().items() if facts.isup}
    known = {name: address for name, address in _addresses().items() if name in up}
    return {name: address for name, address in known.items() if not is_loopback(address)}


def _addresses() -> dict[str, str]:
    return {
        name: str(address.address)
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family == socket.AF_INET
    }


def is_loopback(address: str) -> bool:
    """Tell whether an IPv4 address can be reached from this host only."""
    return address.startswith("127.")


def check_port(host: str, port: int) -> None:
    """Make sure that nobody listens on a port.

    Raises:
        PortError: somebody does, or we may not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except (OSError, OverflowError) as error:
            raise PortError(host, port, str(error)) from error


def free_ports(host: str, count: int, *, with_bus: bool) -> list[int]:
    """Ask the operating system for different free ports, none of which is another's bus port.

    Args:
        host: the address they are free on.
        count: how many.
        with_bus: whether the port of the cluster bus must be free too.

    Raises:
        PortError: it has not given enough suitable ones.
    """
    found: list[int] = []
    for port in _offered_ports(host, HIGHEST_CLUSTER_PORT if with_bus else 65_535):
        if port in _near(found) or (with_bus and not _bus_is_free(host, port)):
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise PortError(host, 0, f"the operating system gave {len(found)} of {count} suitable free ports")


def listens(pid: int, port: int) -> bool:
    """Tell whether it is this very process that listens on a port."""
    ours = set(_sockets_of(pid))
    return any(inode in ours for inode in _listening_inodes(port))


def _offered_ports(host: str, highest: int) -> Iterator[int]:
    """Yield ports the system offers; where those are all too high for a bus, some that we try ourselves."""
    for attempt in range(ATTEMPTS):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port > highest:
            port = 1024 + (port * 31 + attempt * 977) % (highest - 1024)
            if not _is_free(host, port):
                continue
        yield port


def _near(ports: Sequence[int]) -> set[int]:
    return {port + offset for port in ports for offset in (0, BUS_OFFSET, -BUS_OFFSET)}


def _bus_is_free(host: str, port: int) -> bool:
    return _is_free(host, port + BUS_OFFSET)


def _is_free(host: str, port: int) -> bool:
    try:
        check_port(host, port)
    except PortError:
        return False
    return True


def _sockets_of(pid: int) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended, or closed that file
        for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]


def _listening_inodes(port: int) -> Iterator[str]:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9]
