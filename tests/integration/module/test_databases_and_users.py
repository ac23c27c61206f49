"""A run stays within the database its client has selected and the keys its user may touch."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until
from tests.integration.torchscript import adder

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
    if int(db.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("Redis 6.2 offers a module no way to ask what a user may do")
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
        restricted.execute_command(*command, "mine:note", "OUTPUTS", 1, "mine:out")
        assert refusal(restricted, *command, "secret", "OUTPUTS", 1, "mine:out2")
    assert db.get("mine:note") == b"changed"
    assert db.get("secret") == b"as it was"
