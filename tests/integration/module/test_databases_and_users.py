"""A run stays within the database its client has selected and the keys its user may touch."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until
from tests.integration.torchscript import adder, identity

SCRIPT = "def double(a):\n    return a * 2\n"


def select(server: RedisServer, number: int) -> redis.Redis:
    return server.connect(db=number)


def fill(db: redis.Redis, value: float) -> None:
    store_model(db, "m", adder())
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", SCRIPT)
    put(db, "a", np.full(2, value))


def run(db: redis.Redis) -> None:
    execute(db, "m", ["a", "a"], ["sum"])
    db.execute_command("AI.SCRIPTRUN", "s", "double", "INPUTS", "sum", "OUTPUTS", "twice")


def check(db: redis.Redis, value: float) -> None:
    np.testing.assert_array_equal(get(db, "sum"), np.full(2, 2 * value))
    np.testing.assert_array_equal(get(db, "twice"), np.full(2, 4 * value))


def test_outputs_go_to_the_selected_database(server: RedisServer, db: redis.Redis) -> None:
    third, fifth = select(server, 3), select(server, 5)
    fill(third, 1.0)
    fill(fifth, 10.0)
    run(third)
    run(fifth)
    check(third, 1.0)
    check(fifth, 10.0)
    assert db.dbsize() == 0


def test_statistics_are_kept_apart(server: RedisServer, db: redis.Redis) -> None:
    third = select(server, 3)
    fill(third, 1.0)
    fill(db, 1.0)
    run(third)
    assert info(third, "m")["calls"] == 1
    assert info(db, "m")["calls"] == 0


def test_outputs_reach_the_same_database_of_the_replica_and_the_aof(start_server: StartServer) -> None:
    port = free_port()
    master = start_server(port=port, options={"repl-diskless-sync-delay": "0", "appendonly": "yes"})
    replica = start_server(options={"replicaof": f"127.0.0.1 {port}"})
    link = replica.connect()
    wait_until(lambda: link.info("replication")["master_link_status"] == "up", "the replica to be in step")
    fill(select(master, 3), 1.0)
    fill(select(master, 0), 10.0)
    run(select(master, 3))
    run(select(master, 0))
    wait_in_step(master.connect(), link)
    check(select(replica, 3), 1.0)
    check(select(replica, 0), 10.0)
    master.restart("NOSAVE")
    check(select(master, 3), 1.0)
    check(select(master, 0), 10.0)


def knows_rights(db: redis.Redis) -> bool:
    """Redis 6.2 cannot be asked what a user may do: from scripts only those run commands who may do all."""
    return int(db.info("server")["redis_version"].split(".")[0]) >= 7


@pytest.fixture
def restricted(server: RedisServer, db: redis.Redis) -> redis.Redis:
    """A user who may touch only keys that begin with `mine:`."""
    db.execute_command("ACL", "SETUSER", "guest", "reset", "on", ">secret", "~mine:*", "+@all")
    return server.connect(username="guest", password="secret")


def test_a_user_cannot_read_or_write_other_keys_by_running(db: redis.Redis, restricted: redis.Redis) -> None:
    for name in ("mine:m", "m"):
        store_model(db, name, adder())
    for name in ("mine:a", "a"):
        put(db, name, np.ones(2))
    with restricted:
        execute(restricted, "mine:m", ["mine:a", "mine:a"], ["mine:sum"])
        for key, source, output in [
            ("m", "mine:a", "mine:out"),
            ("mine:m", "a", "mine:out"),
            ("mine:m", "mine:a", "out"),
        ]:
            with pytest.raises(redis.exceptions.NoPermissionError):
                execute(restricted, key, ["mine:a", source], [output])
    assert db.exists("out", "mine:out") == 0
    np.testing.assert_array_equal(get(db, "mine:sum"), [2.0, 2.0])


def test_a_script_cannot_do_what_its_user_may_not(db: redis.Redis, restricted: redis.Redis) -> None:
    source = (
        "def peek(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
        "    redis.execute('SET', args[0], 'changed')\n"
        "    return torch.ones([1])\n"
    )
    words = ("CPU", "ENTRY_POINTS", 1, "peek", "SOURCE", source)
    db.set("secret", "as it was")
    with restricted:
        restricted.execute_command("AI.SCRIPTSTORE", "mine:s", *words)
        command = ("AI.SCRIPTEXECUTE", "mine:s", "peek", "KEYS", 1, "mine:k", "ARGS", 1)
        if knows_rights(db):
            restricted.execute_command(*command, "mine:note", "OUTPUTS", 1, "mine:out")
            assert db.get("mine:note") == b"changed"
        else:
            assert "before Redis 7" in refusal(restricted, *command, "mine:note", "OUTPUTS", 1, "mine:out")
        assert "may not run" in refusal(restricted, *command, "secret", "OUTPUTS", 1, "mine:out2")
    assert db.get("secret") == b"as it was"


@pytest.mark.parametrize(
    "command", ["EVAL return(redis.call('set','secret','changed')) 0", "SORT mine:l BY nosort GET secret"]
)
def test_a_script_has_no_other_way_to_other_keys(
    db: redis.Redis, restricted: redis.Redis, command: str
) -> None:
    """What these commands touch is in no access list."""
    source = (
        "def peek(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
        "    redis.execute(args[0], args[1:])\n"
        "    return torch.ones([1])\n"
    )
    db.set("secret", "as it was")
    words = command.split()
    with restricted:
        restricted.execute_command(
            "AI.SCRIPTSTORE", "mine:s", "CPU", "ENTRY_POINTS", 1, "peek", "SOURCE", source
        )
        keys = ("KEYS", 1, "mine:k", "ARGS", len(words), *words, "OUTPUTS", 1, "mine:out")
        text = refusal(restricted, "AI.SCRIPTEXECUTE", "mine:s", "peek", *keys)
    assert ("not allowed" if knows_rights(db) else "before Redis 7") in text
    assert db.get("secret") == b"as it was"


def test_a_script_runs_no_model_that_its_user_may_not(db: redis.Redis, restricted: redis.Redis) -> None:
    source = (
        "def run(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
        "    return redisAI.model_execute(args[0], [torch.ones([2])], 1)\n"
    )
    store_model(db, "secret", identity())
    store_model(db, "mine:m", identity())
    with restricted:
        restricted.execute_command(
            "AI.SCRIPTSTORE", "mine:s", "CPU", "ENTRY_POINTS", 1, "run", "SOURCE", source
        )
        command = ("AI.SCRIPTEXECUTE", "mine:s", "run", "KEYS", 1, "mine:k", "ARGS", 1)
        if knows_rights(db):
            restricted.execute_command(*command, "mine:m", "OUTPUTS", 1, "mine:out")
        assert "may not run this command" in refusal(
            restricted, *command, "secret", "OUTPUTS", 1, "mine:out2"
        )
    assert info(db, "secret")["calls"] == 0
