"""A run's time is over, its client has gone: the clients are answered at once, and the device goes on."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, info, put, refusal, store_model
from tests.integration.module.long_runs import (
    blocked_clients,
    held_run,
    lose_a_worker,
    resp,
    run_command,
    store_stuck,
    stuck_run,
    workers_sleep,
)
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, endless

OVER_LIMIT = "Exiting due to terminate flag being set to true"


def test_a_timeout_is_answered_while_the_run_goes_on(start_server: StartServer) -> None:
    """It would go on for years; the next run needs its worker, or another."""
    server = start_server()
    db = server.connect()
    store_stuck(db)
    store_model(db, "adder", adder())
    db.execute_command("AI.INFO", "stuck", "RESETSTAT")
    times_ms = iter([100, 1000, 10_000])

    def wait_in_vain() -> None:
        assert execute(db, "stuck", ["x", "years"], ["y"], "TIMEOUT", next(times_ms)) == b"TIMEDOUT"

    lose_a_worker(server, wait_in_vain)
    assert db.exists("y") == 0
    assert execute(db, "adder", ["x", "x"], ["sum"]) == b"OK"
    assert info(db, "stuck")["errors"] > 0


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
    for timeout_ms in (50, 500, 5000):
        words = ("AI.SCRIPTRUN", "s", "f", "TIMEOUT", timeout_ms, "INPUTS", "x", "OUTPUTS", "y")
        assert db.execute_command(*words) == b"TIMEDOUT"
        if db.exists("count"):
            break
    assert int(db.get("count")) > 0, "the script has never begun"
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
    store_model(db, "adder", adder())
    db.execute_command("AI.INFO", "stuck", "RESETSTAT")
    assert refusal(db, "AI.MODELEXECUTE", "stuck", "INPUTS", 2, "x", "years", "OUTPUTS", 1, "y") == OVER_LIMIT
    assert execute(db, "adder", ["x", "x"], ["sum"]) == b"OK"
    assert (info(db, "stuck")["calls"], info(db, "stuck")["errors"]) == (1, 1)


@pytest.mark.slow
def test_workers_are_replaced_a_bounded_number_of_times(start_server: StartServer) -> None:
    """Beyond that clients are still answered at their time, and the server leaves when told."""
    server = start_server()
    db = server.connect()
    store_stuck(db)
    store_model(db, "adder", adder())

    def lose_another() -> bool:
        assert execute(db, "stuck", ["x", "years"], ["y"], "TIMEOUT", 30) == b"TIMEDOUT"
        execute(db, "adder", ["x", "x"], ["sum"], "TIMEOUT", 3000)  # waits for another worker
        return "this device has a worker less" in server.log()

    wait_until(lose_another, "the last worker to be lost")
    assert execute(db, "adder", ["x", "x"], ["sum"], "TIMEOUT", 30) == b"TIMEDOUT"
    assert server.shutdown("NOSAVE") == 0


def test_a_client_that_leaves_ends_its_run(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "adder", adder())
    store_model(db, "endless", endless())
    put(db, "a", np.ones(3))
    with server.raw_socket() as raw:
        raw.sendall(run_command("endless", "a", output="never"))
        wait_until(lambda: blocked_clients(db) == 1 and not workers_sleep(server), "the run to begin")
    assert execute(db, "adder", ["a", "a"], ["sum"]) == b"OK"
    wait_until(lambda: workers_sleep(server), "the run to end")
    assert db.exists("never") == 0


def test_a_client_that_leaves_frees_the_worker_of_a_deaf_run(
    start_server: StartServer,
) -> None:
    server = start_server()
    db = server.connect()
    store_model(db, "adder", adder())

    def leave() -> None:
        with stuck_run(server, db):
            pass

    lose_a_worker(server, leave)
    assert execute(db, "adder", ["x", "x"], ["sum"]) == b"OK"


def test_redisai_defect_9_what_clients_left_in_the_queue_is_not_run(
    server: RedisServer, db: redis.Redis
) -> None:
    store_model(db, "adder", adder())
    put(db, "a", np.ones(3))
    with held_run(server, db) as held, ExitStack() as stack:
        for i in range(50):
            leaving = stack.enter_context(server.raw_socket())
            leaving.sendall(run_command("adder", "a", "a", output=f"left{i}"))
        wait_until(lambda: blocked_clients(db) == 51, "all runs to be queued")
        stack.close()
        wait_until(lambda: blocked_clients(db) == 1, "the server to see that they have gone")
        held.end()
    execute(db, "adder", ["a", "a"], ["sum"])
    assert info(db, "adder")["calls"] == 1
    assert db.exists(*(f"left{i}" for i in range(50))) == 0


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
