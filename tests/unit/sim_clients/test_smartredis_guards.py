"""What is checked before, and put back after, SmartRedis is asked."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_clients import Address, DatabaseUnavailable, HostPort, UnsupportedClientError, connect
from sim_clients.plain_redis import string_list
from sim_clients.smartredis_client import refuse_numpy_2
from sim_clients.smartredis_environment import environment_for, variables

ADDRESS = Address((HostPort("127.0.0.1", 1),))


@pytest.fixture(autouse=True)
def over_smartredis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_CLIENT", "smartredis")


@pytest.mark.parametrize("version", ["2.0.0", "2.3.1", "3.0.0rc1", "10.0"])
def test_numpy_2_is_refused(version: str) -> None:
    with pytest.raises(UnsupportedClientError, match=f"numpy {version}; install numpy<2"):
        refuse_numpy_2(version)


def test_numpy_1_is_taken() -> None:
    refuse_numpy_2("1.26.4")


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSDB", "elsewhere:1")
    monkeypatch.setenv("SSKEYOUT", "prefix")
    monkeypatch.delenv("SR_CMD_TIMEOUT", raising=False)
    before = dict(os.environ)
    with pytest.raises(RuntimeError, match="inside"), environment_for(ADDRESS):
        assert os.environ["SSDB"] == "127.0.0.1:1"
        assert os.environ["SR_CMD_TIMEOUT"] == "5"
        assert os.environ["SSKEYOUT"] == "prefix"
        raise RuntimeError("inside")
    assert dict(os.environ) == before


def test_what_the_user_has_set_wins() -> None:
    wanted = variables(ADDRESS, {"SR_CMD_TIMEOUT": "60", "SSDB": "elsewhere:1"})
    assert wanted["SR_CMD_TIMEOUT"] == "60"
    assert wanted["SSDB"] == "127.0.0.1:1"


def test_a_database_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SR_CONN_TIMEOUT", "1")
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1 does not answer \(connect\)") as caught:
        connect(ADDRESS)
    assert caught.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


@given(st.lists(st.text(max_size=20)))
def test_a_packed_list_of_strings_is_unpacked(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    packed = b"\x07" + b"".join(len(text).to_bytes(8, "little") + text for text in encoded)
    assert string_list(packed) == texts
