"""PENSTOCK.* commands of streams: numbers without sense, scripts, transactions, users, shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from sim_clients.contract import mark_of
from tests.integration.ai_commands import refusal
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until

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
        "PENSTOCK.ANNOUNCE s e 8 NEXT 8 AGREED #",
        "PENSTOCK.ACK s reader #",
        "PENSTOCK.FREED s #",
        "PENSTOCK.ROOM k #",
        "PENSTOCK.ROOM k 8 TIMEOUT #",
        "PENSTOCK.ROOM k 8 WRITING TIMEOUT #",
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
    for command in (RESERVE, ("PENSTOCK.ROOM", "k", 8), ("PENSTOCK.BEGIN", "{a.0.0}.meta", "f", "v")):
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
    for words in (["ROOM", META, 8], ["BEGIN", META, "f", "v"], ["COMPLETE", META]):
        assert db.execute_command("COMMAND GETKEYS", f"PENSTOCK.{words[0]}", *words[1:]) == [META], words
    announce = ("PENSTOCK.ANNOUNCE", "s", "{a.0.0}", 8, "NEXT", 8, "COMPLETE", META)
    assert db.execute_command("COMMAND GETKEYS", *announce) == ["s", META]


# ---- Who writes a dataset, and leaves


META = "{a.0.0}.meta"
NAMES = b"\x07" + b"".join(len(name).to_bytes(8, "little") + name.encode() for name in ("u", "v"))
TENSORS = ("{a.0.0}.u", "{a.0.0}.v")


@pytest.fixture
def writer(server: RedisServer) -> Iterator[redis.Redis]:
    """A connection that a test may end."""
    path = server.address.removeprefix("unix://")
    with redis.Redis(unix_socket_path=path, single_connection_client=True) as connection:
        yield connection


def write(writer: redis.Redis, tensors: int = 2) -> None:
    assert writer.execute_command("PENSTOCK.BEGIN", META, ".tensor_names", NAMES) == b"OK"
    for key in TENSORS[:tensors]:
        writer.execute_command("AI.TENSORSET", key, "FLOAT", 2, "VALUES", 1, 2)


def announce(db: redis.Redis, *words: object) -> object:
    return db.execute_command("PENSTOCK.ANNOUNCE", "s", "{a.0.0}", 16, *words)


def is_gone(db: redis.Redis) -> bool:
    return int(db.exists(META, *TENSORS)) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("BEGIN", "wrong number of arguments"),
        ("BEGIN {a.0.0}.meta f", "wrong number of arguments"),
        ("BEGIN {a.0.0}.meta f v g", "wrong number of arguments"),
        ("BEGIN {a.0.0}.u f v", "a key that ends with '.meta', not in '{a.0.0}.u'"),
        ("BEGIN meta f v", "a key that ends with '.meta', not in 'meta'"),
        ("COMPLETE {a.0.0}.u", "a key that ends with '.meta'"),
        ("ROOM {a.0.0}.u 8 WRITING", "a key that ends with '.meta', not in '{a.0.0}.u'"),
        ("ROOM meta 8 WRITING TIMEOUT 5", "a key that ends with '.meta', not in 'meta'"),
        ("ANNOUNCE s e 8 COMPLETE {a.0.0}.u", "a key that ends with '.meta', not in '{a.0.0}.u'"),
        ("ANNOUNCE s e 8 NEXT 8 COMPLETE meta", "a key that ends with '.meta', not in 'meta'"),
        ("COMPLETE {a.0.0}.meta", "GONE there is no dataset of '{a.0.0}.meta' any more"),
        ("ANNOUNCE s e 8 COMPLETE", "behind the bytes come COMPLETE key, AGREED mark and NEXT bytes"),
        ("ANNOUNCE s e 8 COLOUR blue", "behind the bytes come COMPLETE key, AGREED mark and NEXT bytes"),
        ("ANNOUNCE s e 8 COMPLETE {a.0.0}.meta", "GONE there is no dataset of '{a.0.0}.meta' any more"),
        ("ANNOUNCE s e 8 AGREED 1", "DISAGREED the stream 's' has no contract any more"),
    ],
)
def test_what_cannot_be_begun_or_announced(db: redis.Redis, words: str, says: str) -> None:
    assert says in refusal(db, *f"PENSTOCK.{words}".split())
    assert db.keys() == []


@pytest.mark.parametrize("tensors", [0, 1, 2])
def test_a_dataset_whose_writer_leaves_is_removed(db: redis.Redis, writer: redis.Redis, tensors: int) -> None:
    db.set("{a.0.0}.other", "stays")
    write(writer, tensors)
    writer.close()
    wait_until(lambda: is_gone(db), "the dataset to be removed")
    assert refusal(db, "PENSTOCK.ANNOUNCE", "s", "{a.0.0}", 16, "COMPLETE", META).startswith("GONE ")
    assert db.keys() == [b"{a.0.0}.other"]


@pytest.mark.parametrize("how", ["announced", "completed", "begun by another", "again", "twice"])
def test_what_somebody_goes_on_with_stays(
    server: RedisServer, db: redis.Redis, writer: redis.Redis, how: str
) -> None:
    write(writer)
    if how == "again":
        announce(writer, "COMPLETE", META)
        write(writer)  # its keys are those of a position that was announced
    if how == "twice":
        write(writer)
        announce(writer, "COMPLETE", META)
    if how == "begun by another":
        write(db)
    writer.close()
    if how == "announced":
        announce(db, "COMPLETE", META)
    if how == "completed":
        assert db.execute_command("PENSTOCK.COMPLETE", META) == b"OK"
    other_is_gone_after_it(server, db)
    assert db.exists(META, *TENSORS) == 3
    db.execute_command("PENSTOCK.COMPLETE", META)  # or the shared connection's end removes it


def other_is_gone_after_it(server: RedisServer, db: redis.Redis) -> None:
    """Wait until what another client leaves now has been removed, and so all that was left before."""
    path = server.address.removeprefix("unix://")
    with redis.Redis(unix_socket_path=path, single_connection_client=True) as other:
        other.execute_command("PENSTOCK.BEGIN", "{b.0.0}.meta", ".tensor_names", NAMES)
    wait_until(lambda: not db.exists("{b.0.0}.meta"), "another dataset to be removed")


def test_who_begins_another_or_needs_no_place_has_given_up_the_first(
    db: redis.Redis, writer: redis.Redis
) -> None:
    write(writer)
    writer.execute_command("PENSTOCK.BEGIN", "{a.0.1}.meta", ".tensor_names", NAMES)
    wait_until(lambda: is_gone(db), "the first dataset to be removed")
    assert db.exists("{a.0.1}.meta")
    writer.execute_command("PENSTOCK.UNRESERVE", "s")
    wait_until(lambda: not db.exists("{a.0.1}.meta"), "the second dataset to be removed")


def test_a_client_that_has_no_command_for_it_says_that_it_writes(
    db: redis.Redis, writer: redis.Redis
) -> None:
    """SmartRedis writes metadata and tensors over a connection of its own."""
    assert writer.execute_command("PENSTOCK.ROOM", META, 16, "WRITING", "TIMEOUT", 1000) == 1
    db.hset(META, mapping={".tensor_names": NAMES, ".COMPLETE": "1"})
    db.execute_command("AI.TENSORSET", TENSORS[0], "FLOAT", 1, "VALUES", 1)
    writer.close()
    wait_until(lambda: is_gone(db), "the dataset to be removed")


@pytest.mark.parametrize("other", ["s", "{s}.steps"])
def test_what_could_not_be_announced_is_not_complete_and_goes(
    db: redis.Redis, writer: redis.Redis, other: str
) -> None:
    """A key of the stream has another kind of value."""
    write(writer)
    db.set(other, "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        announce(writer, "COMPLETE", META)
    assert not db.hexists(META, ".COMPLETE")
    with suppress(redis.ResponseError):  # of the stream, too
        writer.execute_command("PENSTOCK.UNRESERVE", "s")
    wait_until(lambda: is_gone(db), "the dataset to be removed")
    assert db.type("s") != b"list"


def test_nothing_is_announced_that_cannot_be_completed(db: redis.Redis) -> None:
    db.set(META, "text")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        announce(db, "COMPLETE", META)
    assert db.keys() == [META.encode()]


def test_a_pause_of_writes_is_waited_for(db: redis.Redis, writer: redis.Redis) -> None:
    write(writer)
    db.execute_command("CLIENT", "PAUSE", 400, "WRITE")
    writer.close()
    wait_until(lambda: is_gone(db), "the dataset to be removed")


def test_what_is_removed_is_removed_from_replicas_too(start_server: StartServer) -> None:
    port = free_port()
    master, replica = start_server(port=port), start_server()
    with master.connect() as db, replica.connect() as other:
        other.execute_command("REPLICAOF", "127.0.0.1", port)
        wait_until(
            lambda: other.info("replication")["master_link_status"] == "up", "the replica to be in step"
        )
        with master.connect() as writer:
            write(writer)
            wait_in_step(db, other)
            assert other.exists(META, *TENSORS) == 3
        wait_until(lambda: is_gone(db), "the dataset to be removed")
        wait_in_step(db, other)
        assert is_gone(other)


def test_the_mark_of_a_contract_is_that_of_the_clients(db: redis.Redis) -> None:
    text = "since heat_0.0.0\nT: float32 (6, 4) in blocks, °C, dims y x"
    db.set("{s}.contract", text)
    assert announce(db, "AGREED", mark_of(text)) == [0, 0]
    assert "DISAGREED the stream 's' has another contract" in refusal(
        db, "PENSTOCK.ANNOUNCE", "s", "{a.0.0}", 16, "AGREED", mark_of(text + " ")
    )
    assert meter(db)[b"announced"] == b"1"


def test_what_a_forgotten_stream_has_thinned_is_not_counted(db: redis.Redis) -> None:
    bound = ("PENSTOCK.BOUND", "s", "ITEMS", 1, "POLICY", "thin", "EVERY", 3)
    db.execute_command(*bound)
    announce(db)
    for _ in range(2):
        assert db.execute_command("PENSTOCK.RESERVE", "s", "{b.0.0}", 8) == [b"skip"]
    db.unlink("s", "{s}.meter", "{s}.sizes", "{s}.steps")
    db.execute_command(*bound)
    announce(db)
    for _ in range(2):
        assert db.execute_command("PENSTOCK.RESERVE", "s", "{b.0.0}", 8) == [b"skip"]
    assert refusal(db, "PENSTOCK.RESERVE", "s", "{b.0.0}", 8).startswith("STREAMFULL")
