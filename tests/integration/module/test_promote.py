"""PENSTOCK.PROMOTE: a name becomes one of its versions, at once, and only where that one has loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.module.test_early_answer import DAMAGED_LATE
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until
from tests.integration.torchscript import constant, slow_to_load, torchscript

LONG = 300


def promote(db: redis.Redis, version: int, name: str = "m") -> Any:
    return db.execute_command("PENSTOCK.PROMOTE", name, f"{name}@{version}")


def answer(db: redis.Redis, name: str = "m") -> float:
    put(db, "x", np.ones(1, np.float32))
    execute(db, name, ["x"], ["y"])
    return float(get(db, "y")[0])


def store_two(db: redis.Redis) -> None:
    for version in (1, 2):
        store_model(db, f"m@{version}", constant(float(version)), "TAG", version)


@pytest.mark.parametrize("words", [["m"], ["m", "m@1", "CHECK", "CHECK"]])
def test_it_has_two_or_three_words(db: redis.Redis, words: list[str]) -> None:
    assert "wrong number of arguments" in refusal(db, "PENSTOCK.PROMOTE", *words)


def test_the_third_is_check(db: redis.Redis) -> None:
    store_two(db)
    assert refusal(db, "PENSTOCK.PROMOTE", "m", "m@1", "m@2") == "behind the version comes CHECK, or nothing"


def test_check_does_all_but_the_swap(db: redis.Redis) -> None:
    store_two(db)
    promote(db, 1)
    assert db.execute_command("PENSTOCK.PROMOTE", "m", "m@2", "check") == b"OK"
    assert "there is no such model" in refusal(db, "PENSTOCK.PROMOTE", "m", "m@7", "CHECK")
    assert answer(db) == 1.0


def test_a_version_that_is_not_there_is_named_and_the_live_one_stays(db: redis.Redis) -> None:
    store_two(db)
    promote(db, 1)
    text = refusal(db, "PENSTOCK.PROMOTE", "m", "m@7")
    assert text == "cannot promote 'm@7': there is no such model"
    assert answer(db) == 1.0


def test_other_values_are_neither_promoted_nor_overwritten(db: redis.Redis) -> None:
    store_two(db)
    db.set("text", "hello")
    assert "WRONGTYPE" in refusal(db, "PENSTOCK.PROMOTE", "m", "text")
    assert "WRONGTYPE" in refusal(db, "PENSTOCK.PROMOTE", "text", "m@1")
    assert db.get("text") == b"hello"


def test_the_name_answers_as_the_version_forth_and_back(db: redis.Redis) -> None:
    store_two(db)
    for version in (1, 2, 1, 1):
        assert promote(db, version) == b"OK"
        assert answer(db) == version
        assert db.execute_command("AI.MODELGET", "m", "META")[5] == str(version).encode()


def test_both_keys_are_one_model(db: redis.Redis) -> None:
    """One program, so that their runs may share a batch, and are counted together."""
    store_two(db)
    promote(db, 2)
    answer(db)
    assert info(db, "m@2")["calls"] == info(db, "m")["calls"] == 1
    db.delete("m@2")
    assert answer(db) == 2.0
    assert refusal(db, "AI.MODELGET", "m@2") == "model key is empty"


def test_who_watches_the_name_sees_it_change(server: RedisServer, db: redis.Redis) -> None:
    store_two(db)
    promote(db, 1)
    with server.connect() as other, other.pipeline() as pipe:
        pipe.watch("m")
        promote(db, 2)
        pipe.multi()
        pipe.set("seen", "nothing")
        with pytest.raises(redis.WatchError):
            pipe.execute()


def test_within_a_transaction_and_a_script(db: redis.Redis) -> None:
    store_two(db)
    with db.pipeline(transaction=True) as pipe:
        pipe.execute_command("PENSTOCK.PROMOTE", "m", "m@1")
        assert pipe.execute() == [b"OK"]
    assert answer(db) == 1.0
    db.eval("return redis.call('PENSTOCK.PROMOTE', KEYS[1], KEYS[2])", 2, "m", "m@2")
    assert answer(db) == 2.0


def test_it_waits_for_the_load(start_server: StartServer) -> None:
    server = start_server(arguments=("MODEL_STORE_TIMEOUT", "20"))
    db = server.connect()
    store_model(db, "m@1", slow_to_load(7.0, LONG), "TAG", 1)
    with db.pipeline(transaction=True) as pipe:
        pipe.execute_command("PENSTOCK.PROMOTE", "m", "m@1")
        (refused,) = pipe.execute(raise_on_error=False)
    if isinstance(refused, redis.ResponseError):  # else it had loaded before the question came
        assert "within a transaction or a script: it is not loaded yet" in str(refused)
    assert promote(db, 1) == b"OK"
    assert answer(db) == 7.0


def test_a_version_that_does_not_load_never_becomes_the_live_one(start_server: StartServer) -> None:
    db = start_server(arguments=("MODEL_STORE_TIMEOUT", "20")).connect()
    store_model(db, "m@1", constant(1.0))
    promote(db, 1)
    db.execute_command(
        "AI.MODELSTORE", "m@2", "TORCH", "CPU", "BLOB", torchscript(DAMAGED_LATE, {"value": torch.ones(1)})
    )
    text = refusal(db, "PENSTOCK.PROMOTE", "m", "m@2", "CHECK")
    assert text == refusal(db, "PENSTOCK.PROMOTE", "m", "m@2")
    assert text.startswith("cannot promote 'm@2', it does not load: ")
    assert "these weights do not fit" in text
    assert answer(db) == 1.0


@pytest.mark.parametrize("persistence", ["SAVE", "AOF", "AOF rewritten"])
def test_it_survives_a_restart(start_server: StartServer, persistence: str) -> None:
    server = start_server(options={"appendonly": "no" if persistence == "SAVE" else "yes"})
    db = server.connect()
    store_two(db)
    promote(db, 2)
    promote(db, 1)
    if persistence == "AOF rewritten":
        db.bgrewriteaof()
        wait_until(lambda: db.info("persistence")["aof_rewrite_in_progress"] == 0, "the AOF to be rewritten")
    server.restart("SAVE" if persistence == "SAVE" else "NOSAVE")
    db = server.connect()
    assert answer(db) == 1.0
    assert promote(db, 2) == b"OK"  # not loaded since the restart: it is now
    assert answer(db) == 2.0


def test_it_reaches_a_replica(start_server: StartServer) -> None:
    port = free_port()
    master = start_server(port=port, options={"repl-diskless-sync-delay": "0"}).connect()
    replica = start_server(options={"replicaof": f"127.0.0.1 {port}"}).connect()
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica to be in step")
    store_two(master)
    promote(master, 2)
    promote(master, 1)
    wait_in_step(master, replica)
    assert replica.execute_command("AI.MODELGET", "m", "META")[5] == b"1"
    assert replica.execute_command("AI.MODELGET", "m", "BLOB") == constant(1.0)
    with pytest.raises(redis.ReadOnlyError):
        promote(replica, 2)


def test_a_user_needs_both_keys(server: RedisServer, db: redis.Redis) -> None:
    store_two(db)
    db.execute_command("ACL", "SETUSER", "half", "on", ">secret", "~m", "+penstock.promote")
    try:
        with server.connect() as half:
            half.execute_command("AUTH", "half", "secret")
            with pytest.raises(redis.exceptions.NoPermissionError):
                promote(half, 1)
            db.execute_command("ACL", "SETUSER", "half", "~m@*")
            assert promote(half, 1) == b"OK"
    finally:
        db.execute_command("ACL", "DELUSER", "half")


def test_a_dag_tells_which_version_has_answered(db: redis.Redis) -> None:
    store_two(db)
    dag = (
        *("AI.DAGEXECUTE_RO", "ROUTING", "m", "|>", "AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 1),
        *("|>", "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y"),
        *("|>", "AI.TENSORGET", "y", "VALUES", "|>", "PENSTOCK.TAG", "m"),
    )
    assert refusal(db, *dag) == "model key is empty"
    for version in (2, 1):
        promote(db, version)
        _set, _run, values, tag = db.execute_command(*dag)
        assert (values, tag) == ([str(version).encode()], str(version).encode())
    assert "wrong number of arguments" in refusal(db, *dag, "m")
    old = ("AI.DAGRUN_RO", "LOAD", 1, "x", "|>", "PENSTOCK.TAG", "m")
    put(db, "x", np.ones(1))
    assert "cannot be used in a deprecated AI.DAGRUN" in refusal(db, *old)
