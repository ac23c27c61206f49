"""PENSTOCK.* commands of streams: numbers without sense, scripts, transactions, users, shards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.integration.ai_commands import refusal
from tests.integration.servers import RedisServer, StartServer

HUGE = ["9223372036854775808", "18446744073709551617", "-9223372036854775809", "1e3", "inf", "-1"]
IN_SCRIPT = "not in a script: what it gives belongs to a connection and ends with that"
RESERVE = ("PENSTOCK.RESERVE", "s", "{a.0.0}", 8)


def meter(db: redis.Redis, stream: str = "s") -> dict[bytes, bytes]:
    texts = db.execute_command("PENSTOCK.METER", stream)
    return dict(zip(texts[::2], texts[1::2], strict=True))


# ---- Numbers


@pytest.mark.parametrize(
    "command",
    [
        "PENSTOCK.BOUND s ITEMS #",
        "PENSTOCK.BOUND s BYTES #",
        "PENSTOCK.BOUND s ITEMS 2 POLICY thin EVERY #",
        "PENSTOCK.BOUND s ITEMS 2 WAIT #",
        "PENSTOCK.RESERVE s e #",
        "PENSTOCK.RESERVE s e 8 TIMEOUT #",
        "PENSTOCK.ANNOUNCE s e #",
        "PENSTOCK.ANNOUNCE s e 8 NEXT #",
        "PENSTOCK.ACK s reader #",
        "PENSTOCK.FREED s #",
        "PENSTOCK.ROOM k #",
        "PENSTOCK.ROOM k 8 TIMEOUT #",
    ],
)
def test_numbers_that_fit_nowhere_are_refused(db: redis.Redis, command: str) -> None:
    db.execute_command("PENSTOCK.SUBSCRIBE", "s", "reader")
    for number in HUGE:
        text = refusal(db, *command.replace("#", number).split())
        assert "whole number" in text or "a position to acknowledge is 0 to 0" in text
    assert (meter(db)[b"given"], meter(db)[b"announced"]) == (b"0", b"0")


def test_the_greatest_bound_is_one(db: redis.Redis) -> None:
    for _ in range(2):
        assert db.execute_command("PENSTOCK.BOUND", "s", "BYTES", 2**60, "WAIT", 10**12) == b"OK"
    assert db.execute_command(*RESERVE) == [b"go"]
    assert meter(db)[b"bound_bytes"] == str(2**60).encode()


# ---- Scripts and transactions


def test_nothing_is_promised_to_a_script(db: redis.Redis) -> None:
    script = "return redis.call(unpack(ARGV))"
    for command in (RESERVE, ("PENSTOCK.ROOM", "k", 8)):
        with pytest.raises(redis.ResponseError, match=IN_SCRIPT):
            db.eval(script, 0, *command)
    assert db.eval(script, 0, "PENSTOCK.ANNOUNCE", "s", "{a.0.0}", 8, "NEXT", 8) == [0, 0]
    assert (meter(db)[b"promised_items"], meter(db)[b"announced"]) == (b"0", b"1")


@pytest.mark.parametrize(
    "command", ["ARENA PID 1", "LEASE 64", "PUT k FLOAT 1 OFFSET 64", "MAP k", "RELEASE 64"]
)
def test_nothing_is_leased_to_a_script(start_server: StartServer, command: str) -> None:
    with start_server(arguments=("ARENA", "16")).connect() as db:
        name, *words = command.split()
        with pytest.raises(redis.ResponseError, match=IN_SCRIPT):
            db.eval("return redis.call(unpack(ARGV))", 0, f"PENSTOCK.{name}", *words)


def test_what_is_promised_in_a_transaction_ends_with_its_connection(
    server: RedisServer, db: redis.Redis
) -> None:
    db.execute_command("PENSTOCK.BOUND", "s", "ITEMS", 1)
    path = server.address.removeprefix("unix://")
    other = redis.Redis(unix_socket_path=path, single_connection_client=True)
    for word in ("MULTI", RESERVE, "EXEC"):
        answer = other.execute_command(*([word] if isinstance(word, str) else word))
    assert answer == [[b"go"]]
    assert meter(db)[b"promised_items"] == b"1"
    assert refusal(db, "PENSTOCK.RESERVE", "s", "{b.0.0}", 8).startswith("STREAMFULL")
    other.close()
    assert db.execute_command("PENSTOCK.RESERVE", "s", "{b.0.0}", 8, "TIMEOUT", 30000) == [b"go"]


def test_who_waits_in_a_transaction_is_refused_instead(db: redis.Redis) -> None:
    db.execute_command("PENSTOCK.BOUND", "s", "ITEMS", 1)
    db.execute_command("PENSTOCK.ANNOUNCE", "s", "{a.0.0}", 8)
    pipeline = db.pipeline(transaction=True)
    pipeline.execute_command(*RESERVE, "TIMEOUT", 60000)
    with pytest.raises(redis.ResponseError, match="nobody has subscribed"):
        pipeline.execute()
    assert meter(db)[b"waiting"] == b"0"


# ---- Users


@pytest.fixture
def limited(server: RedisServer, db: redis.Redis) -> Iterator[redis.Redis]:
    """A user of the keys of the stream `s` alone."""
    db.execute_command("ACL", "SETUSER", "limited", "on", "nopass", "resetkeys", "~s", "~{s}*", "+@all")
    with server.connect() as connection:
        connection.execute_command("AUTH", "limited", "")
        yield connection
    db.execute_command("ACL", "DELUSER", "limited")


COMMANDS = {
    "BOUND": ["ITEMS", 4],
    "RESERVE": ["{a.0.0}", 8],
    "ANNOUNCE": ["{a.0.0}", 8],
    "SUBSCRIBE": ["reader"],
    "ACK": ["reader", 1],
    "FREED": [1],
    "METER": [],
    "UNSUBSCRIBE": ["reader"],
    "UNRESERVE": [],
}


def test_a_user_reaches_the_streams_of_his_keys_alone(limited: redis.Redis, db: redis.Redis) -> None:
    for name, words in COMMANDS.items():
        text = refusal(limited, f"PENSTOCK.{name}", "other", *words)
        assert text.lower().startswith("noperm") or "no permissions" in text.lower(), (name, text)
        limited.execute_command(f"PENSTOCK.{name}", "s", *words)
    assert meter(db)[b"announced"] == b"1"
    assert [key for key in db.keys("*") if b"other" in key] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_user_without_a_command_is_refused(server: RedisServer, db: redis.Redis, name: str) -> None:
    db.execute_command("ACL", "SETUSER", "limited", "on", "nopass", "allkeys", "+@all", f"-PENSTOCK.{name}")
    with server.connect() as connection:
        connection.execute_command("AUTH", "limited", "")
        assert "no permissions" in refusal(connection, f"PENSTOCK.{name}", "s", *COMMANDS[name]).lower()
    db.execute_command("ACL", "DELUSER", "limited")


def test_every_command_tells_its_key(db: redis.Redis) -> None:
    for name, words in COMMANDS.items():
        assert db.execute_command("COMMAND GETKEYS", f"PENSTOCK.{name}", "s", *words) == ["s"], name
    assert db.execute_command("COMMAND GETKEYS", "PENSTOCK.ROOM", "{a.0.0}.meta", 8) == ["{a.0.0}.meta"]
