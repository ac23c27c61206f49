"""The server leaves when it is told to, whatever it is doing; none of that would end by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import put, store_model
from tests.integration.module.long_runs import (
    blocked_clients,
    lose_a_worker,
    resp,
    run_command,
    stuck_run,
    thread_states,
    workers_sleep,
)
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import endless, forking, identity, never_loaded

WALKS = 20_000
"""So many walks over the keys, one after another, take minutes."""
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
        raw.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", never_loaded()))
        wait_until(lambda: blocked_clients(db) == 1, "the store to be read")
        wait_until(lambda: thread_states(server, "ai-loader") == "R", "the load to begin")
        yield


@contextmanager
def full_queue(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with stuck_run(server, db), ExitStack() as stack:
        for _ in range(100):
            raw = stack.enter_context(server.raw_socket())
            raw.sendall(run_command("stuck", "x", "years", output="never"))
        wait_until(lambda: blocked_clients(db) == 101, "all runs to wait")
        yield


@contextmanager
def obedient_run(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    store_model(db, "endless", endless())
    put(db, "x", np.ones(3))
    with server.raw_socket() as raw:
        raw.sendall(run_command("endless", "x", output="never"))
        wait_until(lambda: blocked_clients(db) == 1 and not workers_sleep(server), "the run to begin")
        yield


@contextmanager
def forked_run(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    store_model(db, "forking", forking(waits=False))
    put(db, "x", np.ones(3))
    with server.raw_socket() as raw:
        raw.sendall(run_command("forking", "x", output="never"))
        wait_until(lambda: blocked_clients(db) == 1 and not workers_sleep(server), "the run to begin")
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
    """A run whose model waits behind a load that does not end."""
    put(db, "x", np.ones(3))
    with server.raw_socket() as endless_load, server.raw_socket() as store, server.raw_socket() as run:
        endless_load.sendall(resp("AI.MODELSTORE", "n", "TORCH", "CPU", "BLOB", never_loaded()))
        wait_until(lambda: blocked_clients(db) == 1, "the first store to be read")
        store.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", identity()))
        wait_until(lambda: blocked_clients(db) == 2, "the second store to be read")
        run.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 3, "the run to wait")
        yield


@contextmanager
def scanning(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    with db.pipeline(transaction=False) as batch:
        for number in range(20_000):
            batch.set(f"key{number}", 1)
        batch.execute()
    with server.raw_socket() as raw:
        raw.sendall(resp("AI._MODELSCAN") * WALKS)
        wait_until(lambda: blocked_clients(db) == 1, "a walk to be under way")
        yield


@contextmanager
def lost_workers(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    """A run that has been written off and goes on, and one that is waited for."""

    def leave() -> None:
        with stuck_run(server, db):
            pass

    lose_a_worker(server, leave)
    with stuck_run(server, db):
        wait_until(lambda: thread_states(server, "ai-CPU").count("R") == 2, "another worker to run")
        yield


STATES = {
    "a run that waits for a batch": waiting_for_a_batch,
    "a run behind a load": behind_a_load,
    "a walk over the keys": scanning,
    "lost workers": lost_workers,
    "a run": obedient_run,
    "a run that forks": forked_run,
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
        status = server.wait_for_exit()
    assert status == 0
    assert "bye bye" in server.log()
    assert "crash" not in server.log().lower()
