"""What is stored survives a restart from RDB and from AOF, DUMP and RESTORE, and COPY."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.module.stored import check_everything, check_values, store_everything
from tests.integration.servers import RedisServer, ServerDiedError, StartServer, wait_until
from tests.integration.torchscript import constant, heavy

KEYS = ["large", "scalar", "UINT16", "adder", "constant", "set", "stored"]


def rewrite_aof(db: redis.Redis) -> None:
    db.bgrewriteaof()
    wait_until(lambda: db.info("persistence")["aof_rewrite_in_progress"] == 0, "the AOF to be rewritten")
    facts = db.info("persistence")
    assert facts["aof_rewrite_scheduled"] == 0
    assert facts["aof_last_bgrewrite_status"] == "ok"


def aof_bytes(server: RedisServer) -> bytes:
    directory = server.config.directory
    files: list[Path] = [*directory.glob("appendonly*.aof"), *directory.glob("appendonlydir/*")]
    return b"".join(file.read_bytes() for file in files)


def test_rdb_carries_everything_over_a_restart(start_server: StartServer) -> None:
    server = start_server()
    store_everything(server.connect())
    server.restart("SAVE")
    check_everything(server.connect())


def test_rdb_carries_everything_twice(start_server: StartServer) -> None:
    """Saved by a server that had loaded it and never run anything."""
    server = start_server()
    store_everything(server.connect())
    server.restart("SAVE")
    server.restart("SAVE")
    check_everything(server.connect())


def test_background_save_sees_one_moment(start_server: StartServer) -> None:
    server = start_server()
    db = server.connect()
    store_everything(db)
    db.bgsave()
    put(db, "large", np.zeros(3))
    wait_until(lambda: db.info("persistence")["rdb_bgsave_in_progress"] == 0, "the background save")
    assert db.info("persistence")["rdb_last_bgsave_status"] == "ok"
    server.restart("NOSAVE")
    check_values(server.connect())


@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("rewritten", [True, False], ids=["rewritten", "as written"])
def test_redisai_defect_3_aof_carries_everything(
    start_server: StartServer, preamble: str, rewritten: bool
) -> None:
    """RedisAI lost every script of SCRIPTSET in a rewrite without preamble."""
    server = start_server(options={"appendonly": "yes", "aof-use-rdb-preamble": preamble})
    db = server.connect()
    store_everything(db)
    if rewritten:
        rewrite_aof(db)
    server.restart("NOSAVE")
    check_everything(server.connect())


def test_aof_rewrite_without_preamble_keeps_chunks_together(start_server: StartServer) -> None:
    options = {"appendonly": "yes", "aof-use-rdb-preamble": "no"}
    server = start_server(options=options, arguments=("MODEL_CHUNK_SIZE", "100000"))
    db = server.connect()
    store_model(db, "heavy", heavy(1))
    rewrite_aof(db)
    server.restart("NOSAVE")
    db = server.connect()
    assert b"".join(db.execute_command("AI.MODELGET", "heavy", "BLOB")) == heavy(1)


def test_aof_carries_outputs_as_tensors_not_runs(start_server: StartServer) -> None:
    server = start_server(options={"appendonly": "yes"})
    db = server.connect()
    store_model(db, "m", constant(9.0))
    put(db, "x", np.ones(4))
    execute(db, "m", ["x"], ["y"])
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def double(a):\n    return a * 2\n")
    db.execute_command("AI.SCRIPTRUN", "s", "double", "INPUTS", "y", "OUTPUTS", "z")
    db.execute_command("AI.MODELDEL", "m")
    written = aof_bytes(server).upper()
    assert b"AI.MODELEXECUTE" not in written
    assert b"AI.SCRIPTRUN" not in written
    server.restart("NOSAVE")
    db = server.connect()
    np.testing.assert_array_equal(get(db, "y"), np.full(4, 9.0))
    np.testing.assert_array_equal(get(db, "z"), np.full(4, 18.0))
    assert db.exists("m") == 0


def test_aof_with_many_versions_ends_with_the_last(start_server: StartServer) -> None:
    """Loading an AOF cannot wait for a model; the last version must win all the same."""
    server = start_server(options={"appendonly": "yes"})
    db = server.connect()
    for version in range(6):
        store_model(db, "m", constant(float(version)))
    server.restart("NOSAVE")
    db = server.connect()
    put(db, "x", np.ones(2))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), [5.0, 5.0])


@pytest.mark.parametrize("key", KEYS)
def test_dump_and_restore_make_an_equal_value(db: redis.Redis, key: str) -> None:
    store_everything(db)
    dumped = db.dump(key)
    assert dumped is not None
    db.delete(key)
    db.restore(key, 0, dumped)
    check_everything(db)


@pytest.mark.parametrize("key", KEYS)
def test_redisai_defect_4_copy_makes_an_equal_value(db: redis.Redis, key: str) -> None:
    store_everything(db)
    assert db.copy(key, "copied")
    db.delete(key)
    db.rename("copied", key)
    check_everything(db)


def test_a_copy_is_independent(db: redis.Redis) -> None:
    put(db, "t", np.ones(3))
    db.copy("t", "u")
    put(db, "t", np.zeros(3))
    np.testing.assert_array_equal(get(db, "u"), np.ones(3))
    store_model(db, "m", constant(1.0))
    db.copy("m", "n")
    db.execute_command("AI.MODELDEL", "m")
    execute(db, "n", ["t"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.ones(3))


def test_copy_refuses_an_existing_key_unless_told(db: redis.Redis) -> None:
    put(db, "t", np.ones(3))
    put(db, "u", np.zeros(3))
    assert db.copy("t", "u") is False
    np.testing.assert_array_equal(get(db, "u"), np.zeros(3))
    assert db.copy("t", "u", replace=True) is True
    np.testing.assert_array_equal(get(db, "u"), np.ones(3))


def test_a_tensor_of_many_strings_is_restored_whole(db: redis.Redis) -> None:
    """Counting them anew for each of them would take minutes; the connection waits for one."""
    blob = b"".join(b"s%d\0" % i for i in range(200_000))
    db.execute_command("AI.TENSORSET", "t", "STRING", 200_000, "BLOB", blob)
    dumped = db.dump("t")
    assert dumped is not None
    db.restore("u", 0, dumped)
    assert db.execute_command("AI.TENSORGET", "u", "BLOB") == blob


def test_damaged_dump_is_refused(db: redis.Redis) -> None:
    put(db, "t", np.arange(100.0))
    dumped = db.dump("t")
    assert dumped is not None
    middle = len(dumped) // 2
    damaged = dumped[:middle] + bytes([dumped[middle] ^ 1]) + dumped[middle + 1 :]
    assert "checksum" in refusal(db, "RESTORE", "u", 0, damaged)
    assert db.exists("u") == 0


@pytest.mark.parametrize("key", ["adder", "set", "stored", "constant"])
def test_redisai_defect_4_memory_usage_counts_models_and_scripts(db: redis.Redis, key: str) -> None:
    store_everything(db)
    usage = db.memory_usage(key)
    whole = db.execute_command("AI.SCRIPTGET" if key in ("set", "stored") else "AI.MODELGET", key)[-1]
    assert usage is not None
    assert usage >= len(whole)


def test_an_rdb_with_tensors_needs_the_module(start_server: StartServer) -> None:
    """Redis itself must refuse to start without the module rather than lose the tensors."""
    server = start_server()
    put(server.connect(), "t", np.ones(3))
    assert server.shutdown("SAVE") == 0
    bare = RedisServer(type(server.config)(server.config.binary, server.config.directory))
    with pytest.raises(ServerDiedError, match=r"AI_TENSOR|module"), bare:
        pytest.fail("started without the module")
