"""Saving and rewriting fork the server while its workers run: the child never waits for a worker's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import constant

FORKS = 4


@contextmanager
def load(server: RedisServer) -> Iterator[None]:
    """Threads that run and replace models and overwrite tensors until the block ends."""
    stop = threading.Event()
    raised: list[BaseException] = []

    def guarded(work: Callable[[redis.Redis, int], None], number: int) -> None:
        try:
            with server.connect() as own:
                step = 0
                while not stop.is_set():
                    work(own, step)
                    step += 1
        except BaseException as error:  # noqa: BLE001  the thread's edge: handed to the test
            raised.append(error)

    def run(own: redis.Redis, step: int) -> None:
        put(own, "x", np.full(30_000, float(step), np.float32))
        execute(own, "m", ["x"], [f"y{step % 5}"])

    def replace(own: redis.Redis, step: int) -> None:
        store_model(own, "m", constant(float(step)))

    threads = [threading.Thread(target=guarded, args=(work, i)) for i, work in enumerate([run, run, replace])]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not raised


@pytest.mark.parametrize("how", ["bgsave", "bgrewriteaof"])
def test_the_child_of_a_fork_always_ends(start_server: StartServer, how: str) -> None:
    options = {"appendonly": "yes", "aof-use-rdb-preamble": "no"} if how == "bgrewriteaof" else {}
    server = start_server(options=options)
    db = server.connect()
    store_model(db, "m", constant(0.0))
    busy, status = {
        "bgsave": ("rdb_bgsave_in_progress", "rdb_last_bgsave_status"),
        "bgrewriteaof": ("aof_rewrite_in_progress", "aof_last_bgrewrite_status"),
    }[how]
    with load(server):
        for _ in range(FORKS):
            getattr(db, how)()
            wait_until(lambda: db.info("persistence")[busy] == 0, f"the child of {how} to end")
            assert db.info("persistence")[status] == "ok"
    db.set("mark", 1)
    server.restart("SAVE" if how == "bgsave" else "NOSAVE")
    db = server.connect()
    assert db.exists("mark")
    put(db, "one", np.ones(2, np.float32))
    execute(db, "m", ["one"], ["y"])
    assert len(set(get(db, "y").tolist())) == 1
