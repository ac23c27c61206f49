"""A run's time is over, its client has gone: the clients are answered at once, and the device goes on."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, info, put, refusal, store_model
from tests.integration.module.long_runs import blocked_clients, long_run, resp, run_command, stuck_run
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, deaf

OVER_LIMIT = "Exiting due to terminate flag being set to true"


def store_stuck(db: redis.Redis) -> None:
    """Store a model that is not to be stopped, and one that is done at once."""
    store_model(db, "stuck", deaf())
    store_model(db, "adder", adder())
    put(db, "x", np.ones(3))
    put(db, "hours", np.array([10**12], np.int64))


def test_a_timeout_is_answered_while_the_run_goes_on(start_server: StartServer) -> None:
    """It would go on for hours; the next run needs its worker, or another."""
    server = start_server()
    db = server.connect()
    store_stuck(db)
    # Long enough for the run to have begun, also on a machine that is busy.
    assert execute(db, "stuck", ["x", "hours"], ["y"], "TIMEOUT", 1000) == b"TIMEDOUT"
    assert db.exists("y") == 0
    assert execute(db, "adder", ["x", "x"], ["sum"]) == b"OK"
    lost = "a run on CPU does not end although it was canceled"
    wait_until(lambda: lost in server.log(), "the run to be written off")
    assert info(db, "stuck")["errors"] == 1


def test_a_timeout_of_a_script_is_answered_while_it_goes_on(start_server: StartServer) -> None:
    db = start_server().connect()
    source = "def f(x):\n    n = 1000000000000\n    while n > 0:\n        n -= 1\n    return x\n"
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", source)
    put(db, "x", np.ones(3))
    reply = db.execute_command("AI.SCRIPTRUN", "s", "f", "TIMEOUT", 50, "INPUTS", "x", "OUTPUTS", "y")
    assert reply == b"TIMEDOUT"
    assert db.exists("y") == 0


def test_a_script_that_asks_the_server_is_ended_with_its_timeout(start_server: StartServer) -> None:
    """It looks at its end whenever it asks for the server's lock: no worker is written off."""
    server = start_server()
    db = server.connect()
    source = 'def f(x):\n    while True:\n        redis.execute("INCR", "count")\n    return x\n'
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", source)
    put(db, "x", np.ones(3))
    reply = db.execute_command("AI.SCRIPTRUN", "s", "f", "TIMEOUT", 50, "INPUTS", "x", "OUTPUTS", "y")
    assert reply == b"TIMEDOUT"
    store_model(db, "adder", adder())
    execute(db, "adder", ["x", "x"], ["y"])
    counted = db.get("count")
    execute(db, "adder", ["x", "x"], ["y"])
    assert db.get("count") == counted, "the script goes on"
    assert "does not end although it was canceled" not in server.log()


def test_model_execution_timeout_ends_every_run_where_it_is_given(start_server: StartServer) -> None:
    server = start_server(arguments=("MODEL_EXECUTION_TIMEOUT", "1000"))
    db = server.connect()
    store_stuck(db)
    assert refusal(db, "AI.MODELEXECUTE", "stuck", "INPUTS", 2, "x", "hours", "OUTPUTS", 1, "y") == OVER_LIMIT
    assert execute(db, "adder", ["x", "x"], ["sum"]) == b"OK"
    assert (info(db, "stuck")["calls"], info(db, "stuck")["errors"]) == (1, 1)


@pytest.mark.slow
def test_workers_are_replaced_a_bounded_number_of_times(start_server: StartServer) -> None:
    """Beyond that clients are still answered at their time, and the server leaves when told."""
    server = start_server()
    db = server.connect()
    store_stuck(db)

    def lose_a_worker() -> bool:
        assert execute(db, "stuck", ["x", "hours"], ["y"], "TIMEOUT", 30) == b"TIMEDOUT"
        execute(db, "adder", ["x", "x"], ["sum"], "TIMEOUT", 3000)  # waits for another worker
        return "this device has a worker less" in server.log()

    wait_until(lose_a_worker, "the last worker to be lost")
    assert execute(db, "adder", ["x", "x"], ["sum"], "TIMEOUT", 30) == b"TIMEDOUT"
    assert server.shutdown("NOSAVE") == 0


def test_a_client_that_leaves_ends_its_run(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "adder", adder())
    put(db, "a", np.ones(3))
    with long_run(server, db, 60.0):
        wait_until(lambda: blocked_clients(db) == 1, "the run to begin")
    assert execute(db, "adder", ["a", "a"], ["sum"], "TIMEOUT", 20_000) == b"OK"
    assert db.exists("burned") == 0


def test_a_client_that_leaves_frees_the_worker_of_a_deaf_run(
    start_server: StartServer,
) -> None:
    server = start_server()
    db = server.connect()
    store_stuck(db)
    with stuck_run(server, db):
        pass
    assert execute(db, "adder", ["x", "x"], ["sum"]) == b"OK"


def test_redisai_defect_9_what_clients_left_in_the_queue_is_not_run(
    server: RedisServer, db: redis.Redis
) -> None:
    store_model(db, "adder", adder())
    put(db, "a", np.ones(3))
    with long_run(server, db, 1.0) as busy:
        for i in range(50):
            with server.raw_socket() as leaving:
                leaving.sendall(run_command("adder", "a", "a", output=f"left{i}"))
        assert busy.recv(100) == b"+OK\r\n"
    wait_until(lambda: blocked_clients(db) == 0, "the abandoned runs to be over")
    assert info(db, "adder")["calls"] < 50
    execute(db, "adder", ["a", "a"], ["sum"])
    assert db.exists("left49") == 0


def test_timeouts_beyond_all_clocks_are_none(db: redis.Redis) -> None:
    store_model(db, "adder", adder())
    put(db, "a", np.ones(3))
    assert execute(db, "adder", ["a", "a"], ["sum"], "TIMEOUT", 2**62) == b"OK"
    assert execute(db, "adder", ["a", "a"], ["sum"], "TIMEOUT", 60_000_000) == b"OK"


def test_many_runs_with_timeouts_among_many_clients(server: RedisServer, db: redis.Redis) -> None:
    """Each command is answered once, by OK or by TIMEDOUT, in the order of its connection."""
    store_model(db, "adder", adder(), "BATCHSIZE", 8)
    put(db, "a", np.ones((1, 3)))
    command = resp("AI.MODELEXECUTE", "adder", "INPUTS", 2, "a", "a", "OUTPUTS", 1, "sum", "TIMEOUT", 1)
    with server.raw_socket() as first, server.raw_socket() as second:
        for raw in (first, second):
            raw.sendall(command * 200 + resp("PING"))
        for raw in (first, second):
            received = b""
            while not received.endswith(b"+PONG\r\n"):
                received += raw.recv(65536)
            answers = received.split(b"\r\n")[:-1]
            assert len(answers) == 201
            assert set(answers[:200]) <= {b"+OK", b"+TIMEDOUT"}
