"""What tensors cost: the argument is held and counted whole, and nothing is left behind when it goes."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get, put, refusal
from tests.integration.servers import StartServer, wait_until

MEGABYTE = 1 << 20


def used_memory(db: redis.Redis) -> int:
    return int(db.info("memory")["used_memory"])


@pytest.mark.parametrize("size", [1, 4096, 4 * MEGABYTE, 64 * MEGABYTE])
def test_redisai_defect_4_memory_usage_counts_every_byte(db: redis.Redis, size: int) -> None:
    put(db, "t", np.zeros(size, np.uint8))
    usage = db.memory_usage("t")
    assert usage is not None
    assert size <= usage <= size + 64 * 1024 + size // 4


@pytest.mark.parametrize("size", [4 * MEGABYTE, 64 * MEGABYTE])
def test_redisai_defect_2_one_tensor_is_in_memory_once(start_server: StartServer, size: int) -> None:
    """The bound leaves room for the allocator's size classes, not for a second copy."""
    server = start_server()  # its own, for newer servers give a connection's buffer back by and by
    db = server.connect()
    before = used_memory(db)
    with server.connect() as leaving:  # with the connection goes the buffer that Redis keeps for it
        put(leaving, "t", np.ones(size, np.uint8))
    wait_until(
        lambda: size - MEGABYTE // 10 <= used_memory(db) - before <= 1.3 * size + MEGABYTE,
        "the tensor alone to be in memory",
    )
    db.delete("t")
    wait_until(lambda: used_memory(db) - before < MEGABYTE, "the deleted tensor's memory to be given back")


@pytest.mark.parametrize("size", [100, 40_000, 4 * MEGABYTE])
def test_a_thousand_overwrites_leak_nothing(db: redis.Redis, size: int) -> None:
    array = np.zeros(size, np.uint8)
    put(db, "t", array)
    before = used_memory(db)
    for i in range(1000):
        array[0] = i % 256
        put(db, "t", array)
    assert get(db, "t")[0] == 999 % 256
    wait_until(lambda: used_memory(db) < before + size + MEGABYTE, "memory to be as before the overwrites")


def test_a_thousand_refused_commands_leak_nothing(db: redis.Redis) -> None:
    blob = bytes(100_000)
    refusal(db, "AI.TENSORSET", "t", "FLOAT", 3, "BLOB", blob)
    before = used_memory(db)
    for _ in range(1000):
        refusal(db, "AI.TENSORSET", "t", "FLOAT", 3, "BLOB", blob)
    wait_until(lambda: used_memory(db) < before + MEGABYTE, "memory to be as before the refusals")


@pytest.mark.parametrize("how", ["FLUSHALL SYNC", "FLUSHALL ASYNC"])
def test_flushing_gives_everything_back(db: redis.Redis, how: str) -> None:
    """An asynchronous flush drops the values on another thread than the one that made them."""
    db.ping()
    before = used_memory(db)
    for i in range(64):
        put(db, f"t{i}", np.zeros(MEGABYTE, np.uint8))
    assert used_memory(db) > before + 64 * MEGABYTE
    db.execute_command(*how.split())
    wait_until(lambda: used_memory(db) < before + 2 * MEGABYTE, "the flushed memory to be given back")


def test_unlinking_gives_everything_back(db: redis.Redis) -> None:
    db.ping()
    before = used_memory(db)
    names = [f"t{i}" for i in range(32)]
    for name in names:
        put(db, name, np.zeros(MEGABYTE, np.uint8))
    db.unlink(*names)
    wait_until(lambda: used_memory(db) < before + 2 * MEGABYTE, "the unlinked memory to be given back")


def test_set_is_refused_when_memory_is_full(start_server: StartServer) -> None:
    server = start_server(options={"maxmemory": "32mb", "maxmemory-policy": "noeviction"})
    db = server.connect()
    for i in range(40):
        try:
            put(db, f"t{i}", np.zeros(MEGABYTE, np.uint8))
        except redis.exceptions.OutOfMemoryError:
            break
    else:
        pytest.fail("forty megabytes fitted into a limit of thirty-two")
    stored = db.dbsize()
    assert 20 <= stored <= 32
    db.delete("t0", "t1", "t2", "t3")
    put(db, "again", np.zeros(MEGABYTE, np.uint8))


def test_tensors_are_evicted_when_the_policy_says_so(start_server: StartServer) -> None:
    server = start_server(options={"maxmemory": "32mb", "maxmemory-policy": "allkeys-lru"})
    db = server.connect()
    for i in range(100):
        put(db, f"t{i}", np.full(MEGABYTE, i % 256, np.uint8))
    assert 5 <= db.dbsize() <= 32
    assert get(db, "t99")[0] == 99
