"""The address of a database, to and from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim_clients import Address, AddressError, HostPort

ADDRESSES = [
    Address((HostPort("127.0.0.1", 6379),)),
    Address((HostPort("a", 1), HostPort("b", 65535)), clustered=True),
    Address(unix_socket=Path("/tmp/db.sock")),
]


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
@pytest.mark.parametrize("identifier", ["", "heat"])
def test_an_address_survives_the_environment(address: Address, identifier: str) -> None:
    environ = address.environment(identifier)
    assert Address.from_environment(identifier, environ) == address


def test_a_program_that_nobody_gave_a_database_is_told_what_to_do() -> None:
    with pytest.raises(AddressError, match=r"no SSDB: start this program with exp.start") as caught:
        Address.from_environment(environ={})
    assert str(caught.value).endswith("or set SSDB=host:port or SSDB=unix://path")


@pytest.mark.parametrize("text", ["host", "host:", ":1", "host:0", "host:65536", "host:1,", "host:port", ","])
def test_a_malformed_address_is_named(text: str) -> None:
    with pytest.raises(AddressError, match="is not host:port") as caught:
        Address.parse(text)
    assert caught.value.address == text


def test_a_cluster_has_no_unix_socket() -> None:
    with pytest.raises(AddressError, match="clustered"):
        Address.parse("unix:///tmp/db.sock", clustered=True)


def test_an_address_is_one_or_the_other() -> None:
    with pytest.raises(AddressError, match="either"):
        Address()
    with pytest.raises(AddressError, match="either"):
        Address((HostPort("a", 1),), unix_socket=Path("/tmp/db.sock"))
