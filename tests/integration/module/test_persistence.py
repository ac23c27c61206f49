"""What is stored survives a restart from RDB and from AOF, DUMP and RESTORE, and COPY."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from orchestrator.binaries import server_binary
from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.module.long_runs import run_all
from tests.integration.module.stored import check_everything, check_values, store_everything
from tests.integration.servers import RedisServer, ServerDiedError, StartServer, wait_until
from tests.integration.torchscript import adder, constant, heavy

KEYS = ["large", "scalar", "UINT16", "adder", "constant", "set", "stored"]
ENTRIES = "".join(
    f"def {name}(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0]\n"
    for name in ("one", "two")
)


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


def test_aof_rewrite_without_preamble_loses_no_model_for_a_zero(start_server: StartServer) -> None:
    """MINBATCHSIZE is refused without BATCHSIZE, MINBATCHTIMEOUT without MINBATCHSIZE, zeros or not."""
    server = start_server(options={"appendonly": "yes", "aof-use-rdb-preamble": "no"})
    db = server.connect()
    keys = []
    for size, least, wait in itertools.product((0, 4), (0, 2), (0, 5)):
        keys.append(f"{size} {least} {wait}")
        words = ("BATCHSIZE", size, "MINBATCHSIZE", least, "MINBATCHTIMEOUT", wait)
        store_model(db, keys[-1], constant(9.0), *words)
    stored = [db.execute_command("AI.MODELGET", key) for key in keys]
    rewrite_aof(db)
    server.restart("NOSAVE")
    db = server.connect()
    assert [db.execute_command("AI.MODELGET", key) for key in keys] == stored


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


def script_source(number: int) -> str:
    return f"def f(x):\n    return x + {number}\n"


def store_sum(db: redis.Redis, key: str, number: int) -> None:
    put(db, "addend", np.full(5, float(number)))
    execute(db, "adder", ["addend", "one"], [key])


def check_sum(db: redis.Redis, key: str, number: int) -> None:
    np.testing.assert_array_equal(get(db, key), np.full(5, number + 1.0))


STORES: dict[str, Callable[[redis.Redis, str, int], None]] = {
    "tensor": lambda db, key, n: put(db, key, np.full(5000, n)),
    "model": lambda db, key, n: store_model(db, key, constant(float(n % 10))),
    "script": lambda db, key, n: db.execute_command("AI.SCRIPTSET", key, "CPU", "SOURCE", script_source(n)),
    "output": store_sum,
}


def check_stored(db: redis.Redis, kind: str, key: str, number: int) -> None:
    if kind == "tensor":
        np.testing.assert_array_equal(get(db, key), np.full(5000, number))
    elif kind == "model":
        assert db.execute_command("AI.MODELGET", key, "BLOB") == constant(float(number % 10))
    elif kind == "script":
        assert db.execute_command("AI.SCRIPTGET", key, "SOURCE") == script_source(number).encode()
    else:
        check_sum(db, key, number)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_what_was_acknowledged_survives_kill_9(start_server: StartServer, preamble: str) -> None:
    """Stored by one client of each kind, while the AOF is rewritten."""
    options = {"appendonly": "yes", "appendfsync": "always", "aof-use-rdb-preamble": preamble}
    server = start_server(options=options)
    db = server.connect()
    store_model(db, "adder", adder())
    put(db, "one", np.ones(5))
    acknowledged = dict.fromkeys(STORES, 0)

    def store(kind: str) -> None:
        with server.connect() as own, contextlib.suppress(redis.ConnectionError):  # killed
            while True:
                STORES[kind](own, f"{kind}{acknowledged[kind]}", acknowledged[kind])
                acknowledged[kind] += 1

    def kill() -> None:
        try:
            wait_until(lambda: min(acknowledged.values()) > 10, "all to store")
            db.bgrewriteaof()
            wait_until(lambda: min(acknowledged.values()) > 20, "all to go on")
        finally:
            os.killpg(server.pid, signal.SIGKILL)

    assert not run_all(kill, *(lambda kind=kind: store(kind) for kind in STORES))  # type: ignore[misc]
    server.wait_for_exit()
    server.start()
    db = server.connect()
    for kind, count in acknowledged.items():
        for number in range(count):
            check_stored(db, kind, f"{kind}{number}", number)
    store_sum(db, "again", 5)
    check_sum(db, "again", 5)


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


def digests(db: redis.Redis, keys: Sequence[str]) -> list[bytes]:
    """Return what a replica and its master are compared by."""
    answer: list[bytes] = db.execute_command("DEBUG", "DIGEST-VALUE", *keys)
    return answer


def test_a_digest_tells_all_that_is_stored_apart(start_server: StartServer, redis_server: str) -> None:
    found = server_binary(redis_server)
    server = start_server(options={"enable-debug-command": "yes"} if found.version >= (7,) else {})
    db = server.connect()
    file = ("BLOB", constant(1.0))
    definitions: list[tuple[Any, ...]] = [
        ("MODELSTORE", "TORCH", "CPU", *file),
        ("MODELSTORE", "TORCH", "CPU", "TAG", "t", *file),
        ("MODELSTORE", "TORCH", "CPU", "BATCHSIZE", 2, *file),
        ("MODELSTORE", "TORCH", "CPU", "BATCHSIZE", 2, "MINBATCHSIZE", 2, *file),
        ("MODELSTORE", "TORCH", "CPU", "BATCHSIZE", 2, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 2, *file),
        ("SCRIPTSET", "CPU", "SOURCE", ENTRIES),
        ("SCRIPTSTORE", "CPU", "ENTRY_POINTS", 1, "one", "SOURCE", ENTRIES),
        ("SCRIPTSTORE", "CPU", "ENTRY_POINTS", 2, "one", "two", "SOURCE", ENTRIES),
    ]
    keys = [str(number) for number in range(len(definitions))]
    for key, (command, *words) in zip(keys, definitions, strict=True):
        db.execute_command(f"AI.{command}", key, *words)
    before = digests(db, keys)
    assert len(set(before)) == len(definitions)
    server.restart("SAVE")
    assert digests(server.connect(), keys) == before


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
