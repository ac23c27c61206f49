"""What lies in the arena is saved, replicated and logged by its bytes, as they were at that moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get, refusal
from tests.integration.module.arena_client import ArenaClient, arena, wait_for
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until

MEGABYTE = 1 << 20
ARENA = ("ARENA", "8")
READY = 8 * MEGABYTE
IN_TIME = ("TIMEOUT", 60_000)
KEYS = 8
KEY_DELAY_US = 200_000
"""How long the child that saves waits after each key: the test changes keys meanwhile."""


def field(size: int, value: int) -> np.ndarray[Any, Any]:
    return np.full(size, value, np.uint8)


def begin_slow_save(db: redis.Redis) -> None:
    db.config_set("rdb-key-save-delay", KEY_DELAY_US)
    db.bgsave()
    wait_until(lambda: db.info("persistence")["rdb_bgsave_in_progress"] == 1, "the save to begin")


def end_save(db: redis.Redis) -> None:
    wait_until(lambda: db.info("persistence")["rdb_bgsave_in_progress"] == 0, "the save to end")
    assert db.info("persistence")["rdb_last_bgsave_status"] == "ok"


def test_a_save_has_what_was_freed_and_overwritten_meanwhile(start_server: StartServer) -> None:
    server = start_server(arguments=ARENA)
    client = ArenaClient(server)
    wait_for(client.db, ready=READY)
    for i in range(KEYS):
        client.put(f"t{i}", field(MEGABYTE // 2, i))
    begin_slow_save(client.db)
    for i in range(KEYS):
        client.put(f"t{i}", field(MEGABYTE // 4, 100 + i))  # what is overwritten is not reused by the next
    client.db.delete("t0")
    facts = arena(client.db)
    assert client.db.info("persistence")["rdb_bgsave_in_progress"] == 1, "the save was over too soon"
    assert facts["deferred"] == KEYS * MEGABYTE // 2 + MEGABYTE // 4
    assert facts["used"] == facts["deferred"] + (KEYS - 1) * MEGABYTE // 4
    end_save(client.db)
    wait_for(client.db, deferred=0, used=(KEYS - 1) * MEGABYTE // 4)
    server.restart("NOSAVE")
    again = server.connect()
    for i in range(KEYS):
        np.testing.assert_array_equal(get(again, f"t{i}"), field(MEGABYTE // 2, i))
    assert arena(again)["used"] == 0  # an RDB file is read into ordinary memory


def test_who_waits_for_a_save_is_served_when_it_ends(start_server: StartServer) -> None:
    client = ArenaClient(start_server(arguments=ARENA))
    wait_for(client.db, ready=READY)
    client.put("t", field(6 * MEGABYTE, 1))
    begin_slow_save(client.db)
    client.db.delete("t")
    assert "a save still reads 6291456" in refusal(client.db, "PENSTOCK.LEASE", 4 * MEGABYTE)
    offset = client.lease(4 * MEGABYTE, "TIMEOUT", 60_000)
    end_save(client.db)
    client.release(offset)
    wait_for(client.db, used=0)


@pytest.mark.parametrize("size", [1000, MEGABYTE])
@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_the_log_of_writes_has_the_bytes(start_server: StartServer, size: int, preamble: str) -> None:
    options = {"appendonly": "yes", "aof-use-rdb-preamble": preamble}
    server = start_server(arguments=ARENA, options=options)
    client = ArenaClient(server)
    client.put("t", field(size, 7))
    client.put("u", field(size, 8))
    if preamble == "no":
        client.db.bgrewriteaof()
        wait_until(lambda: client.db.info("persistence")["aof_rewrite_in_progress"] == 0, "the rewrite")
        client.put("u", field(size, 9))
    server.restart("NOSAVE")
    again = server.connect()
    np.testing.assert_array_equal(get(again, "t"), field(size, 7))
    np.testing.assert_array_equal(get(again, "u"), field(size, 9 if preamble == "no" else 8))


def _pair(start_server: StartServer) -> tuple[RedisServer, RedisServer]:
    port = free_port()
    master = start_server(arguments=ARENA, port=port, options={"repl-diskless-sync-delay": "0"})
    replica = start_server(arguments=ARENA, options={"replicaof": f"127.0.0.1 {port}"})
    db = replica.connect()
    wait_until(lambda: db.info("replication")["master_link_status"] == "up", "the replica to be in step")
    return master, replica


@pytest.mark.parametrize("size", [1000, MEGABYTE])
def test_a_replica_gets_the_bytes_and_takes_no_puts(start_server: StartServer, size: int) -> None:
    master, replica = _pair(start_server)
    client = ArenaClient(master)
    client.put("t", field(size, 7))
    offset = client.lease(size, *IN_TIME)
    client.write(offset, field(size, 8))
    client.db.execute_command("MULTI")
    client.commit("u", field(size, 8), offset)
    client.db.execute_command("EXEC")
    reader = ArenaClient(replica)
    wait_in_step(client.db, reader.db)
    np.testing.assert_array_equal(get(reader.db, "t"), field(size, 7))
    np.testing.assert_array_equal(get(reader.db, "u"), field(size, 8))
    assert arena(reader.db)["used"] == 0
    offset = reader.lease(64, *IN_TIME)
    text = refusal(reader.db, "PENSTOCK.PUT", "v", "UINT8", 64, "OFFSET", offset)
    assert "read only replica" in text


def test_a_replica_that_comes_gets_what_is_put_before_during_and_after(start_server: StartServer) -> None:
    port = free_port()
    master = start_server(arguments=ARENA, port=port, options={"repl-diskless-sync-delay": "0"})
    client = ArenaClient(master)
    client.put("before", field(MEGABYTE, 1))  # the server finds that nobody follows it
    client.db.config_set("rdb-key-save-delay", KEY_DELAY_US)
    reader = ArenaClient(start_server(arguments=ARENA, options={"replicaof": f"127.0.0.1 {port}"}))
    wait_until(lambda: client.db.info("persistence")["rdb_bgsave_in_progress"] == 1, "the copy to begin")
    client.put("during", field(MEGABYTE, 2))
    assert reader.db.info("replication")["master_link_status"] == "down", "the copy was over too soon"
    wait_until(lambda: reader.db.info("replication")["master_link_status"] == "up", "the replica")
    client.put("after", field(MEGABYTE, 3))
    wait_in_step(client.db, reader.db)
    for value, name in enumerate(("before", "during", "after"), 1):
        np.testing.assert_array_equal(get(reader.db, name), field(MEGABYTE, value))


def test_who_follows_a_promoted_replica_gets_what_was_put_there_alone(start_server: StartServer) -> None:
    """Of the size that the server keeps for whoever comes later, a quarter."""
    first, second = (
        start_server(arguments=ARENA, port=free_port(), options={"repl-diskless-sync-delay": "0"})
        for _ in range(2)
    )
    old, new = ArenaClient(first), ArenaClient(second)
    new.put("own", field(MEGABYTE // 4, 1))  # the server finds that nobody follows it
    new.db.replicaof("127.0.0.1", first.config.port)
    wait_until(lambda: new.db.info("replication")["master_link_status"] == "up", "the replica")
    old.put("t", field(MEGABYTE // 4, 2))
    wait_in_step(old.db, new.db)
    new.db.execute_command("REPLICAOF", "NO", "ONE")
    new.put("u", field(MEGABYTE // 4, 3))
    old.db.replicaof("127.0.0.1", second.config.port)
    wait_until(lambda: old.db.info("replication")["master_link_status"] == "up", "the old master")
    wait_in_step(new.db, old.db)
    assert new.db.info("stats")["sync_partial_ok"] == 1  # what it gets was kept for whoever comes
    np.testing.assert_array_equal(get(old.db, "t"), field(MEGABYTE // 4, 2))
    np.testing.assert_array_equal(get(old.db, "u"), field(MEGABYTE // 4, 3))


def test_a_put_counts_as_a_change_for_the_next_save(start_server: StartServer) -> None:
    client = ArenaClient(start_server(arguments=ARENA))
    before = client.db.info("persistence")["rdb_changes_since_last_save"]
    client.put("t", field(MEGABYTE, 7))
    assert client.db.info("persistence")["rdb_changes_since_last_save"] == before + 1


def test_dump_and_restore(start_server: StartServer) -> None:
    client = ArenaClient(start_server(arguments=ARENA))
    client.put("t", field(MEGABYTE, 7))
    dumped = client.db.dump("t")
    assert dumped is not None
    client.db.restore("u", 0, dumped)
    np.testing.assert_array_equal(get(client.db, "u"), field(MEGABYTE, 7))


def test_memory_that_is_full_refuses_puts(start_server: StartServer) -> None:
    client = ArenaClient(start_server(arguments=ARENA, options={"maxmemory-policy": "noeviction"}))
    offset = client.lease(64, *IN_TIME)
    client.db.config_set("maxmemory", 1)
    assert "used memory >" in refusal(client.db, "PENSTOCK.PUT", "t", "UINT8", 64, "OFFSET", offset)
    client.db.config_set("maxmemory", 0)
    assert client.commit("t", field(64, 0), offset) == b"OK"


def test_users_need_rights_to_the_key(start_server: StartServer) -> None:
    server = start_server(arguments=ARENA)
    rights = "on >secret ~own:* +penstock.arena +penstock.lease +penstock.put"
    server.connect().execute_command("ACL", "SETUSER", "solver", *rights.split())
    client = ArenaClient(server)
    client.db.execute_command("AUTH", "solver", "secret")
    offset = client.lease(64, *IN_TIME)
    assert "NOPERM" in _no_permission(client, "t", offset)
    assert client.commit("own:t", field(64, 0), offset) == b"OK"
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.map("own:t")


def _no_permission(client: ArenaClient, key: str, offset: int) -> str:
    with pytest.raises(redis.exceptions.NoPermissionError) as caught:
        client.commit(key, field(64, 0), offset)
    return f"NOPERM {caught.value}"
