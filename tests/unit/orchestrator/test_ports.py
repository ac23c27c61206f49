"""Which address an interface has, and which of them this host's own name leads to."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psutil
import pytest

from orchestrator import Orchestrator
from orchestrator.errors import UsageError
from orchestrator.ports import interface_address

ADDRESSES = {"lo": "127.0.0.1", "eth0": "192.0.2.1", "ib0": "198.51.100.1"}


@pytest.fixture(autouse=True)
def interfaces(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A host n1 with three interfaces; what is returned may be changed."""
    there = dict(ADDRESSES)
    monkeypatch.setattr(
        psutil,
        "net_if_addrs",
        lambda: {name: [SimpleNamespace(family=socket.AF_INET, address=at)] for name, at in there.items()},
    )
    monkeypatch.setattr(socket, "gethostname", lambda: "n1")
    return there


def name_leads_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostbyname", {"n1": address}.__getitem__)


@pytest.mark.parametrize("address", ["127.0.1.1", "127.0.0.1", "203.0.113.9"])
def test_a_name_that_leads_to_no_interface_others_reach_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_leads_to(address, monkeypatch)
    named = rf"'n1' leads to {address}, where no other host reaches .* eth0 \(192.0.2.1\), ib0"
    with pytest.raises(UsageError, match=named):
        interface_address("hostname")


def test_a_name_that_leads_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str) -> str:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    with pytest.raises(UsageError, match=r"'n1' has no address: .*Name or service not known"):
        interface_address("hostname")


def test_an_interface_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no network interface 'ib7' .*: lo, eth0, ib0"):
        interface_address("ib7")


def test_the_interface_of_the_host_s_name_must_be_allowed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name_leads_to("198.51.100.1", monkeypatch)
    with pytest.raises(UsageError, match=r"'hostname' \(198.51.100.1\) can be reached from other hosts"):
        Orchestrator(interface="hostname").host()
    assert Orchestrator(interface="hostname", open_port=True).host() == "198.51.100.1"


def test_an_interface_is_found_by_its_name_also_where_that_is_hostname(
    interfaces: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_leads_to("192.0.2.1", monkeypatch)
    assert interface_address("ib0") == "198.51.100.1"
    assert interface_address("hostname") == "192.0.2.1"
    interfaces["hostname"] = "203.0.113.1"
    assert interface_address("hostname") == "203.0.113.1"
