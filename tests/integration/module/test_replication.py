"""A replica has what its master has, runs nothing itself, and can take over."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.module.long_runs import run_all
from tests.integration.module.stored import check_everything, check_values, store_everything
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until
from tests.integration.torchscript import constant

CLIENTS = 8
PASSING = (redis.exceptions.ReadOnlyError, redis.exceptions.TryAgainError)
"""What a client is told while its master gives up its place; it asks again, at the new one."""


@pytest.fixture
def pair(start_server: StartServer) -> tuple[RedisServer, RedisServer]:
    """A master and its replica, in step."""
    port = free_port()
    master = start_server(port=port, options={"repl-diskless-sync-delay": "0"})
    replica = start_server(options={"replicaof": f"127.0.0.1 {port}"})
    db = replica.connect()
    wait_until(lambda: db.info("replication")["master_link_status"] == "up", "the replica to be in step")
    return master, replica


def calls(db: redis.Redis, command: str) -> int:
    """How often a command was run by this server, its master's stream included."""
    stats = {name.lower(): facts for name, facts in db.info("commandstats").items()}
    return int(stats.get(f"cmdstat_{command.lower()}", {"calls": 0})["calls"])


def test_everything_reaches_the_replica(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    store_everything(master)
    wait_in_step(master, replica)
    check_values(replica)


def test_everything_reaches_a_replica_that_comes_later(start_server: StartServer) -> None:
    port = free_port()
    master = start_server(port=port, options={"repl-diskless-sync-delay": "0"}).connect()
    store_everything(master)
    replica = start_server(options={"replicaof": f"127.0.0.1 {port}"}).connect()
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica to be in step")
    check_values(replica)


def test_the_deprecated_forms_reach_the_replica(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    master.execute_command("AI.MODELSET", "m", "TORCH", "CPU", "BLOB", constant(9.0))
    put(master, "x", np.ones(2))
    master.execute_command("AI.MODELRUN", "m", "INPUTS", "x", "OUTPUTS", "y")
    wait_in_step(master, replica)
    assert replica.execute_command("AI.MODELGET", "m", "BLOB") == constant(9.0)
    np.testing.assert_array_equal(get(replica, "y"), np.full(2, 9.0))
    assert calls(replica, "AI.MODELRUN") == 0


def test_the_replica_receives_outputs_as_tensors(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    store_model(master, "m", constant(9.0))
    put(master, "x", np.ones((2, 2)))
    execute(master, "m", ["x"], ["y"])
    master.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def double(a):\n    return a * 2\n")
    master.execute_command("AI.SCRIPTRUN", "s", "double", "INPUTS", "y", "OUTPUTS", "z")
    wait_in_step(master, replica)
    np.testing.assert_array_equal(get(replica, "y"), np.full((2, 2), 9.0))
    np.testing.assert_array_equal(get(replica, "z"), np.full((2, 2), 18.0))
    assert calls(replica, "AI.TENSORSET") == 3
    assert calls(replica, "AI.MODELEXECUTE") == 0
    assert calls(replica, "AI.SCRIPTRUN") == 0


def test_deletions_reach_the_replica(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    store_everything(master)
    master.execute_command("AI.MODELDEL", "adder")
    master.execute_command("AI.SCRIPTDEL", "set")
    master.delete("large")
    wait_in_step(master, replica)
    assert replica.exists("adder", "set", "large") == 0
    assert replica.exists("constant", "stored", "scalar") == 3


def test_a_failed_run_replicates_nothing(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    store_model(master, "m", constant(1.0))
    refusal(master, "AI.MODELEXECUTE", "m", "INPUTS", 1, "nothing", "OUTPUTS", 1, "y")
    master.set("mark", 1)
    wait_in_step(master, replica)
    assert replica.exists("mark", "y") == 1
    assert calls(replica, "AI.TENSORSET") == 0


def test_a_replica_refuses_to_be_written(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    store_everything(master)
    put(master, "x", np.ones(2))
    wait_in_step(master, replica)
    assert "read only replica" in refusal(replica, "AI.TENSORSET", "t", "FLOAT", 1)
    words = ("constant", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert "read only replica" in refusal(replica, "AI.MODELEXECUTE", *words)


def test_a_promoted_replica_serves_what_came_by_the_stream(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = pair
    store_everything(master.connect())
    wait_in_step(master.connect(), replica.connect())
    master.kill()
    replica.connect().execute_command("REPLICAOF", "NO", "ONE")
    check_everything(replica.connect())


def test_a_promoted_replica_serves_what_came_by_the_first_copy(start_server: StartServer) -> None:
    port = free_port()
    master = start_server(port=port, options={"repl-diskless-sync-delay": "0"})
    store_everything(master.connect())
    replica = start_server(options={"replicaof": f"127.0.0.1 {port}"}).connect()
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica to be in step")
    master.kill()
    replica.execute_command("REPLICAOF", "NO", "ONE")
    check_everything(replica)


def test_a_model_replaced_many_times_ends_equal_on_the_replica(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    for version in range(20):
        store_model(master, "m", constant(float(version)))
    wait_in_step(master, replica)
    assert replica.execute_command("AI.MODELGET", "m", "BLOB") == constant(19.0)
    replica.execute_command("REPLICAOF", "NO", "ONE")
    put(replica, "x", np.ones(2))
    execute(replica, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(replica, "y"), [19.0, 19.0])


class Callers:
    """Clients that run one model over and over, at the server they are pointed to."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.answers: dict[tuple[int, RedisServer], int] = {}
        self.is_over = threading.Event()

    def run(self, number: int) -> None:
        while not self.is_over.is_set():
            server = self.server
            try:
                with server.connect() as db:
                    execute(db, "m", ["x"], [f"y{number}"])
                    assert set(get(db, f"y{number}").tolist()) == {7.0}
            except PASSING:
                continue
            except redis.ResponseError as error:
                assert str(error).startswith("UNBLOCKED"), str(error)
                continue
            self.answers[number, server] = self.answers.get((number, server), 0) + 1

    def wait_for(self, server: RedisServer) -> None:
        wait_until(
            lambda: all(self.answers.get((n, server), 0) > 3 for n in range(CLIENTS)),
            f"every client to run at {server.address}",
        )


def promote(old: RedisServer, new: RedisServer, how: str) -> None:
    """Make the replica the master: by itself, or handed over by its master."""
    if how == "FAILOVER":
        old.connect().execute_command("FAILOVER")
    else:
        new.connect().execute_command("REPLICAOF", "NO", "ONE")
    db = new.connect()
    wait_until(lambda: db.info("replication")["role"] == "master", "the replica to take over")


@pytest.mark.parametrize("how", ["REPLICAOF", "FAILOVER"])
def test_a_replica_that_is_promoted_while_clients_run_serves_the_same_models(
    start_server: StartServer, how: str
) -> None:
    old, new = (start_server(port=free_port(), options={"repl-diskless-sync-delay": "0"}) for _ in range(2))
    master, replica = old.connect(), new.connect()
    replica.execute_command("REPLICAOF", "127.0.0.1", old.config.port)
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica to be in step")
    store_everything(master)
    store_model(master, "m", constant(7.0), "TAG", "kept")
    put(master, "x", np.ones(64, np.float32))
    wait_in_step(master, replica)
    callers = Callers(old)

    def take_over() -> None:
        try:
            callers.wait_for(old)
            promote(old, new, how)
            callers.server = new
            callers.wait_for(new)
        finally:
            callers.is_over.set()

    assert not run_all(take_over, *(lambda n=n: callers.run(n) for n in range(CLIENTS)))  # type: ignore[misc]
    assert replica.execute_command("AI.MODELGET", "m", "BLOB") == constant(7.0)
    check_everything(replica)
