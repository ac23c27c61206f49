"""Tensors in shared memory: leased, written in place, put, mapped, and given back whatever happens."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import ALL_TYPES, execute, get, put, refusal, store_model
from tests.integration.module.arena_client import ArenaClient, arena, wait_for
from tests.integration.module.long_runs import blocked_clients
from tests.integration.servers import RedisServer, ServerDiedError, StartServer, wait_until
from tests.integration.torchscript import adder, identity, torchscript

MEGABYTE = 1 << 20
ARENA_MB = 8
ROOM = ARENA_MB * MEGABYTE - 4096


@pytest.fixture
def own(start_server: StartServer) -> RedisServer:
    """A server with an arena, all of it taken from the system."""
    server = start_server(arguments=("ARENA", str(ARENA_MB)))
    with server.connect() as db:
        wait_for(db, ready=ARENA_MB * MEGABYTE)
    return server


@pytest.fixture
def client(own: RedisServer) -> ArenaClient:
    return ArenaClient(own)


def field(size: int, value: int) -> np.ndarray[Any, Any]:
    return np.full(size, value, np.uint8)


# --- what is refused


@pytest.mark.parametrize(
    "command", ["ARENA PID 1", "LEASE 64", "PUT t FLOAT 1 OFFSET 4096", "MAP t", "RELEASE 64"]
)
def test_a_server_without_an_arena_says_so(db: redis.Redis, command: str) -> None:
    text = refusal(db, *f"PENSTOCK.{command}".split())
    assert text == "this server has no arena: the load argument ARENA gives it one"


def test_an_arena_larger_than_memory_is_refused(start_server: StartServer) -> None:
    with pytest.raises(ServerDiedError, match="ARENA: 1000000000 MB are more than this host's memory"):
        start_server(arguments=("ARENA", "1000000000"))


def test_strangers_are_refused(own: RedisServer) -> None:
    db = own.connect()
    text = "this connection has not said which process it belongs to: PENSTOCK.ARENA PID first"
    assert refusal(db, "PENSTOCK.LEASE", 64) == text
    assert refusal(db, "PENSTOCK.LEASE", 64, "TIMEOUT", 60_000) == text
    assert refusal(db, "PENSTOCK.PUT", "t", "FLOAT", 1, "OFFSET", 4096) == text
    assert refusal(db, "PENSTOCK.RELEASE", 4096) == text
    assert "is not on the server's host" in refusal(db, "PENSTOCK.ARENA", "PID", 2**22 + 1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("UINT8 64 OFFSET 0", "this connection has no lease at offset 0"),
        (
            "UINT8 64 OFFSET 18446744073709551615",
            "OFFSET: '18446744073709551615' is no whole number below 2^63",
        ),
        ("UINT8 65 OFFSET {}", "has 64 bytes, the tensor 65"),
        ("DOUBLE 9 OFFSET {}", "has 64 bytes, the tensor 72"),
        ("UINT8 64 OFFSET {} LEASE", "the size of a lease is missing"),
        ("UINT8 64 OFFSET {} MORE", "unexpected word 'MORE'"),
        ("UINT8 64 64 64", "OFFSET is missing"),
        ("BOOL 64 OFFSET {}", "BOOL tensor elements must be 0 or 1"),
        ("STRING 1 OFFSET {}", "a STRING tensor cannot lie in the arena"),
        ("FLAOT 1 OFFSET {}", "invalid data type"),
    ],
)
def test_a_put_that_is_refused_changes_nothing(
    own: RedisServer, client: ArenaClient, words: str, text: str
) -> None:
    offset = client.lease(64)
    client.write(offset, field(64, 7))
    with ArenaClient(own) as other:
        assert "no lease at offset" in refusal(other.db, "PENSTOCK.PUT", "t", "UINT8", 64, "OFFSET", offset)
    assert text in refusal(client.db, "PENSTOCK.PUT", "t", *words.format(offset).split())
    assert client.db.dbsize() == 0
    assert client.commit("t", field(64, 7), offset) == b"OK"  # it is still the client's own
    assert "no lease at offset" in refusal(client.db, "PENSTOCK.PUT", "t", "UINT8", 64, "OFFSET", offset)
    np.testing.assert_array_equal(get(client.db, "t"), field(64, 7))


def test_keys_of_other_types_and_empty_ones(client: ArenaClient) -> None:
    client.db.set("text", "x")
    offset = client.lease(64)
    assert "WRONGTYPE" in refusal(client.db, "PENSTOCK.PUT", "text", "UINT8", 64, "OFFSET", offset)
    assert "WRONGTYPE" in refusal(client.db, "PENSTOCK.MAP", "text")
    assert "tensor key is empty" in refusal(client.db, "PENSTOCK.MAP", "nothing")
    assert "holds no block at offset" in refusal(client.db, "PENSTOCK.RELEASE", offset, offset)
    client.release(offset)
    wait_for(client.db, used=0)


def test_garbage_is_answered(client: ArenaClient) -> None:
    for words in ("", "-1", "0", "x", "64 TIMEOUT", "64 TIMEOUT -1", "64 SOON", "99999999999999999999"):
        refusal(client.db, "PENSTOCK.LEASE", *words.split())
    numbers = ("PID x", "PID 0", "PID -1", "PID 99999999999")
    for words in ("", "PID", *numbers, "PID 1 FORMER", "PID 1 FORMER 2", "PID 1 X", "X 1"):
        refusal(client.db, "PENSTOCK.ARENA", *words.split())
    for words in ("", "x", "64 x", "-1", "64"):
        refusal(client.db, "PENSTOCK.RELEASE", *words.split())
    for words in ("", "t", "t FLOAT", "t FLOAT OFFSET", "t FLOAT 1 OFFSET x", "t FLOAT -1 OFFSET 4096"):
        refusal(client.db, "PENSTOCK.PUT", *words.split())
    assert arena(client.db)["used"] == 0


# --- tensors like any other


@pytest.mark.parametrize("dtype", ALL_TYPES.values(), ids=ALL_TYPES)
def test_a_tensor_of_the_arena_is_one_for_everybody(client: ArenaClient, dtype: type[Any]) -> None:
    array = np.arange(1, 25).reshape(2, 3, 4).astype(dtype)
    client.put("t", array)
    np.testing.assert_array_equal(get(client.db, "t"), array)
    mapped, offset = client.map("t")
    np.testing.assert_array_equal(mapped, array)
    assert not mapped.flags.writeable
    client.release(offset)
    client.db.delete("t")
    wait_for(client.db, used=0, pinned=0, leased=0)


def test_a_tensor_in_ordinary_memory_has_no_offset(client: ArenaClient) -> None:
    put(client.db, "t", np.ones((2, 3), np.float32))
    blob = np.ones(6, np.float32).tobytes()
    assert client.db.execute_command("PENSTOCK.MAP", "t") == [b"FLOAT", [2, 3], None, 24]
    assert client.db.execute_command("PENSTOCK.MAP", "t", "BLOB") == [b"FLOAT", [2, 3], None, blob]
    client.put("t", np.ones(6, np.float32))
    dtype, shape, offset, size = client.db.execute_command("PENSTOCK.MAP", "t", "BLOB")
    assert (dtype, shape, size) == (b"FLOAT", [6], 24)
    client.release(offset)
    assert refusal(client.db, "PENSTOCK.MAP", "t", "VALUES") == "unexpected word 'VALUES'"


def test_a_put_brings_the_next_lease(client: ArenaClient) -> None:
    array = np.arange(1000.0)
    offset = client.lease(array.nbytes)
    for step in range(100):
        client.write(offset, array + step)
        following = client.commit(f"t{step % 3}", array, offset, "LEASE", array.nbytes)
        assert following != offset
        offset = following
    np.testing.assert_array_equal(get(client.db, "t0"), array + 99)
    client.release(offset)
    client.db.delete("t0", "t1", "t2")
    wait_for(client.db, used=0)


def test_a_put_is_done_even_if_there_is_no_next_lease(client: ArenaClient) -> None:
    offset = client.lease(ROOM)
    assert client.commit("t", field(ROOM, 0), offset, "LEASE", 64) is None
    assert client.db.exists("t")
    assert arena(client.db)["leased"] == 0


def test_a_put_may_keep_what_it_has_put(client: ArenaClient) -> None:
    array = field(MEGABYTE, 7)
    offset = client.lease(MEGABYTE)
    client.write(offset, array)
    assert client.commit("t", array, offset, "KEEP") == b"OK"
    assert "no lease" in refusal(client.db, "PENSTOCK.PUT", "u", "UINT8", 64, "OFFSET", offset)
    client.db.delete("t")
    assert (arena(client.db)["used"], arena(client.db)["pinned"]) == (MEGABYTE, MEGABYTE)
    assert client.memory[offset : offset + 64] == array[:64].tobytes()
    client.release(offset)
    wait_for(client.db, used=0)


def test_memory_is_taken_as_it_is_used(start_server: StartServer) -> None:
    server = start_server(arguments=("ARENA", "256"))
    with server.connect() as db, ArenaClient(server) as client:
        wait_for(db, ready=16 * MEGABYTE)
        assert arena(db)["size"] == 256 * MEGABYTE
        for i in range(8):
            client.put(f"t{i}", field(8 * MEGABYTE, i))
        assert 64 * MEGABYTE <= arena(db)["ready"] < 128 * MEGABYTE


def test_an_arena_of_the_servers_own_choice(start_server: StartServer) -> None:
    server = start_server(arguments=("ARENA", "auto"))
    with server.connect() as db, ArenaClient(server) as client:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        assert arena(db)["size"] == memory // 2 // MEGABYTE * MEGABYTE
        client.put("t", field(MEGABYTE, 3))
        assert get(db, "t").sum() == 3 * MEGABYTE


def test_a_lease_that_is_longer_than_its_tensor_gives_the_rest_back(client: ArenaClient) -> None:
    client.commit("t", field(100, 1), client.lease(MEGABYTE))
    assert arena(client.db)["used"] == 4096  # a large block has whole pages


def test_models_read_what_lies_in_the_arena(client: ArenaClient) -> None:
    store_model(client.db, "m", adder())
    x = np.arange(100_000, dtype=np.float32)
    client.put("x", x)
    execute(client.db, "m", ["x", "x"], ["y"])
    np.testing.assert_array_equal(get(client.db, "y"), x + x)


@pytest.mark.parametrize(
    "source",
    [
        "def forward(self, x):\n    return x.add_(1)\n",
        "def forward(self, x):\n    view = x.view(-1)[1:]\n    view.mul_(2)\n    return x + 1 - 1\n",
        "def late(self, x):\n    return x.fill_(7)\ndef forward(self, x):\n"
        "    y = x + 1\n    torch.jit.fork(self.late, x)\n    return y\n",
        "def forward(self, x):\n    self.kept = x\n    return x + 0\n",
    ],
    ids=["itself", "a view", "a fork", "an attribute"],
)
def test_a_model_that_writes_to_its_input_changes_a_copy(client: ArenaClient, source: str) -> None:
    store_model(client.db, "m", torchscript(source, {"kept": torch.zeros(1)}))
    x = np.arange(100_000, dtype=np.float32)
    client.put("x", x)
    for _ in range(2):
        execute(client.db, "m", ["x"], ["y"])
        assert get(client.db, "y")[0] in (0, 1)
    np.testing.assert_array_equal(get(client.db, "x"), x)


def test_an_answer_that_is_the_input_outlives_it(client: ArenaClient) -> None:
    """The second step of the DAG takes what the first one was given, when its key has another value."""
    store_model(client.db, "id", identity())
    store_model(client.db, "add", adder())
    x = np.arange(100_000, dtype=np.float32)
    client.put("x", x)
    steps = "AI.DAGEXECUTE LOAD 1 x PERSIST 1 z |> AI.MODELEXECUTE id INPUTS 1 x OUTPUTS 1 y"
    steps += " |> AI.MODELEXECUTE add INPUTS 2 y y OUTPUTS 1 z"
    client.db.execute_command(*steps.split())
    execute(client.db, "id", ["x"], ["w"])
    client.db.delete("x")
    client.put("other", -x)
    np.testing.assert_array_equal(get(client.db, "z"), x + x)
    np.testing.assert_array_equal(get(client.db, "w"), x)


@pytest.mark.parametrize(
    "how", ["DEL t", "UNLINK t", "PEXPIRE t 1", "FLUSHALL SYNC", "FLUSHALL ASYNC", "SET t 1"]
)
def test_what_ends_a_tensor_frees_its_block(client: ArenaClient, how: str) -> None:
    client.put("t", field(MEGABYTE, 1))
    assert client.db.memory_usage("t") >= MEGABYTE
    assert arena(client.db)["used"] == MEGABYTE
    client.db.execute_command(*how.split())
    wait_for(client.db, used=0)


def test_an_overwritten_tensor_frees_its_block(client: ArenaClient) -> None:
    client.put("t", field(MEGABYTE, 1))
    client.put("t", field(4096 * 20, 2))
    wait_for(client.db, used=4096 * 20)
    put(client.db, "t", field(10, 3))
    wait_for(client.db, used=0)


def test_a_copy_shares_the_block(client: ArenaClient) -> None:
    client.put("t", field(MEGABYTE, 5))
    client.db.copy("t", "u")
    assert arena(client.db)["used"] == MEGABYTE
    client.db.delete("t")
    np.testing.assert_array_equal(get(client.db, "u"), field(MEGABYTE, 5))
    client.db.delete("u")
    wait_for(client.db, used=0)


def test_what_is_mapped_stays_when_its_key_goes(own: RedisServer, client: ArenaClient) -> None:
    client.put("t", field(MEGABYTE, 5))
    with ArenaClient(own) as reader:
        mapped, offset = reader.map("t")
        client.db.delete("t")
        for i in range(2 * ARENA_MB):  # it would be reused by these
            client.put(f"u{i % 4}", field(MEGABYTE, 9))
        np.testing.assert_array_equal(mapped, field(MEGABYTE, 5))
        reader.release(offset)
    client.db.flushall()
    wait_for(client.db, used=0, pinned=0)


def test_puts_in_a_transaction(client: ArenaClient) -> None:
    offset = client.lease(64)
    client.write(offset, field(64, 3))
    client.db.execute_command("MULTI")
    client.commit("t", field(64, 3), offset, "LEASE", 64)
    client.db.execute_command("PENSTOCK.LEASE", 64, "TIMEOUT", 1000)
    put_reply, lease_reply = client.db.execute_command("EXEC")
    assert {put_reply, lease_reply}.isdisjoint({offset, None})
    np.testing.assert_array_equal(get(client.db, "t"), field(64, 3))


def test_a_script_holds_no_leases(client: ArenaClient) -> None:
    offset = client.lease(64)
    script = "return redis.call('PENSTOCK.PUT', 't', 'UINT8', '64', 'OFFSET', ARGV[1])"
    text = refusal(client.db, "EVAL", script, 0, offset)
    assert "not in a script" in text


# --- when it is full


def test_who_finds_it_full_is_told_by_whom(client: ArenaClient) -> None:
    client.put("t", field(6 * MEGABYTE, 0))
    client.lease(MEGABYTE)
    text = refusal(client.db, "PENSTOCK.LEASE", 2 * MEGABYTE)
    assert text.startswith("ARENAFULL no room in the arena for 2097152 bytes: 7340032 of 8388608 are in use")
    assert f"holds {MEGABYTE}" in text
    assert "does not fit into the arena" in refusal(client.db, "PENSTOCK.LEASE", ROOM + 1, "TIMEOUT", 60_000)
    assert refusal(client.db, "PENSTOCK.LEASE", 2 * MEGABYTE, "TIMEOUT", 20).startswith("ARENAFULL")


@pytest.mark.parametrize("how", ["DEL t", "FLUSHALL ASYNC", "AI.TENSORSET t FLOAT 1 VALUES 1"])
def test_a_client_waits_for_room(own: RedisServer, client: ArenaClient, how: str) -> None:
    client.put("t", field(ROOM, 0))
    with own.connect() as db, ArenaClient(own) as waiting:
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.append(waiting.lease(MEGABYTE, "TIMEOUT", 60_000)))
        thread.start()
        wait_until(lambda: blocked_clients(db) == 1, "the client to wait")
        assert arena(db)["waiting_clients"] == 1
        assert db.ping()  # the server does not
        assert not got
        db.execute_command(*how.split())
        thread.join()
        assert got
        waiting.release(*got)
    wait_for(client.db, used=0, waiting_clients=0)


def test_nobody_waits_in_a_transaction(client: ArenaClient) -> None:
    client.put("t", field(ROOM, 0))
    client.db.execute_command("MULTI")
    client.db.execute_command("PENSTOCK.LEASE", 64, "TIMEOUT", 60_000)
    with pytest.raises(redis.ResponseError, match="within a transaction"):
        raise client.db.execute_command("EXEC")[0]


def test_who_waits_and_leaves_is_forgotten(own: RedisServer, client: ArenaClient) -> None:
    client.put("t", field(ROOM, 0))
    waiting = ArenaClient(own)
    waiting.db.connection.send_command("PENSTOCK.LEASE", MEGABYTE, "TIMEOUT", 60_000)
    wait_for(client.db, waiting_clients=1)
    waiting.db.connection.disconnect()
    wait_for(client.db, waiting_clients=0)
    client.db.delete("t")
    wait_for(client.db, used=0)


def test_a_server_that_is_waited_for_leaves(own: RedisServer, client: ArenaClient) -> None:
    client.put("t", field(ROOM, 0))
    waiting = ArenaClient(own)
    waiting.db.connection.send_command("PENSTOCK.LEASE", MEGABYTE, "TIMEOUT", 60_000)
    wait_for(client.db, waiting_clients=1)
    assert own.shutdown("NOSAVE") == 0


# --- clients that go


def test_a_lost_connection_leaves_its_blocks_until_they_are_taken_over(
    own: RedisServer, client: ArenaClient
) -> None:
    client.put("t", field(MEGABYTE, 5))
    lost = ArenaClient(own)
    lease = lost.lease(MEGABYTE)
    mapped, pin = lost.map("t")
    lost.db.connection.disconnect()
    wait_for(client.db, leased=0, pinned=0, quarantined=2 * MEGABYTE)
    client.db.delete("t")
    assert arena(client.db)["used"] == 2 * MEGABYTE  # this process may still write to one and read the other
    np.testing.assert_array_equal(mapped, field(MEGABYTE, 5))
    with ArenaClient(own, former=lost) as again:
        assert sorted(again.taken) == sorted([lease, pin])
        again.write(lease, field(MEGABYTE, 6))
        assert again.commit("u", field(MEGABYTE, 6), lease) == b"OK"
        again.release(pin)
        assert "holds no block" in refusal(again.db, "PENSTOCK.RELEASE", pin)
    wait_for(client.db, used=MEGABYTE, quarantined=0)


def test_nobody_else_may_open_the_arena(client: ArenaClient) -> None:
    status = client.path.stat()
    assert status.st_mode & 0o7777 == 0o600
    assert Path(client.path).readlink().name.startswith("memfd:penstock-arena")
