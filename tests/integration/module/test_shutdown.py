"""The server leaves soon when it is told to, whatever it is doing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, put, store_model
from tests.integration.module.long_runs import (
    blocked_clients,
    has_answer,
    long_run,
    resp,
    run_command,
    stuck_run,
)
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import heavy, identity

SOON_S = 10.0
"""It takes half a second on an idle machine; what it must not wait for takes a minute at least."""

ASKING = 'def f(x):\n    while True:\n        redis.execute("INCR", "count")\n    return x\n'


@contextmanager
def asking_script(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    """A script that holds the server's lock, or waits for it, all the time."""
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", ASKING)
    put(db, "x", np.ones(3))
    with server.raw_socket() as raw:
        raw.sendall(resp("AI.SCRIPTRUN", "s", "f", "INPUTS", "x", "OUTPUTS", "y"))
        wait_until(lambda: db.exists("count") == 1, "the script to run")
        yield


@contextmanager
def loading(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with server.raw_socket() as raw:
        raw.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", heavy(50)))
        wait_until(lambda: blocked_clients(db) > 0 or has_answer(raw), "the load to begin")
        yield


@contextmanager
def full_queue(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with stuck_run(server, db), ExitStack() as stack:
        for _ in range(100):
            raw = stack.enter_context(server.raw_socket())
            raw.sendall(run_command("stuck", "x", "hours", output="never"))
        wait_until(lambda: blocked_clients(db) == 101, "all runs to wait")
        yield


@contextmanager
def obedient_run(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with long_run(server, db, 60.0):
        yield


@contextmanager
def deaf_run(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with stuck_run(server, db):
        yield


@contextmanager
def waiting_for_a_batch(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    batching = ("BATCHSIZE", 8, "MINBATCHSIZE", 8, "MINBATCHTIMEOUT", 3_600_000)
    store_model(db, "m", identity(), *batching)
    put(db, "x", np.ones((1, 3)))
    with server.raw_socket() as raw:
        raw.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 1, "the run to wait for others")
        yield


@contextmanager
def behind_a_load(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    """A run whose model waits behind the load of a larger one."""
    put(db, "x", np.ones(3))
    with server.raw_socket() as large, server.raw_socket() as small, server.raw_socket() as run:
        large.sendall(resp("AI.MODELSTORE", "large", "TORCH", "CPU", "BLOB", heavy(50)))
        small.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", identity()))
        run.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) > 0 or has_answer(run), "the loads to begin")
        yield


@contextmanager
def scanning(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with db.pipeline(transaction=False) as batch:
        for number in range(20_000):
            batch.set(f"key{number}", 1)
        batch.execute()
    with server.raw_socket() as raw:
        raw.sendall(resp("AI._MODELSCAN") * 50)
        yield


@contextmanager
def lost_workers(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    """Runs that have been written off and go on, and one that is waited for."""
    with stuck_run(server, db):
        for _ in range(3):
            assert execute(db, "stuck", ["x", "hours"], ["y"], "TIMEOUT", 20) == b"TIMEDOUT"
        yield


STATES = {
    "a run that waits for a batch": waiting_for_a_batch,
    "a run behind a load": behind_a_load,
    "a walk over the keys": scanning,
    "lost workers": lost_workers,
    "a run": obedient_run,
    "a run that cannot be told": deaf_run,
    "a load": loading,
    "a full queue": full_queue,
    "a script that asks the server": asking_script,
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("how", ["SHUTDOWN", "SIGTERM"])
def test_redisai_defect_12_the_server_leaves_soon_in_every_state(
    start_server: StartServer, state: str, how: str
) -> None:
    server = start_server(options={"appendonly": "yes", "save": "3600 1"})
    db = server.connect()
    with STATES[state](server, db):
        if how == "SIGTERM":
            os.kill(server.pid, signal.SIGTERM)
        else:
            with server.raw_socket() as raw:
                raw.sendall(resp("SHUTDOWN"))
        status = server.wait_for_exit(SOON_S)
    assert status == 0
    assert "bye bye" in server.log()
    assert "crash" not in server.log().lower()
