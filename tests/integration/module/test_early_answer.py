"""A store whose load takes long is answered before it is over; from then on the key is the new model's.

SmartRedis gives up on a reply after 250 ms. Nothing here looks at a clock: that a load is still going on is
seen from the client that waits for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.module.long_runs import blocked_clients, resp, thread_states
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import constant, edited, heavy, slow_to_load, torchscript

LONG = 1500
"""Rounds of a load that takes seconds, however slow the machine is not."""
DAMAGED_LATE = (
    "def forward(self, x):\n    return x\n"
    "def __getstate__(self):\n    return self.value, self.training\n"
    "def __setstate__(self, state: Tuple[Tensor, bool]):\n"
    "    x = torch.ones(300, 300)\n"
    "    for _ in range(1000):\n"
    "        x = torch.tanh(torch.mm(x, x))\n"
    "    assert bool(x[0, 0] < 0), 'these weights do not fit'\n"
    "    self.value = state[0]\n"
    "    self.training = state[1]\n"
)


@pytest.fixture
def hasty(start_server: StartServer) -> RedisServer:
    """A server that answers a store at once, and has opened torch."""
    server = start_server(arguments=("MODEL_STORE_TIMEOUT", "20"))
    db = server.connect()
    store_model(db, "first", constant(0.0))
    put(db, "x", np.ones(2, np.float32))
    execute(db, "first", ["x"], ["y"])
    return server


@pytest.fixture
def db(hasty: RedisServer) -> Iterator[redis.Redis]:
    with hasty.connect() as connection:
        yield connection


class Run(threading.Thread):
    """One AI.MODELEXECUTE on a connection of its own."""

    def __init__(self, server: RedisServer, key: str, output: str) -> None:
        super().__init__()
        self.error: str | None = None
        self._words = (server, key, output)
        self.start()

    def run(self) -> None:
        server, key, output = self._words
        with server.connect() as own:
            try:
                execute(own, key, ["x"], [output])
            except redis.ResponseError as error:
                self.error = str(error)


def run_after_a_store(server: RedisServer, db: redis.Redis, rounds: int) -> bool:
    """Replace a model and run it; return whether the run was seen to wait for the load."""
    blob = slow_to_load(2.0, rounds)
    store_model(db, "m", constant(1.0))
    store_model(db, "m", blob)
    run = Run(server, "m", "y")

    def waits() -> bool:
        return blocked_clients(db) == 1 and thread_states(server, "ai-loader") == "R"

    wait_until(lambda: waits() or not run.is_alive(), "the run to wait")
    waited = run.is_alive()
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == blob
    run.join()
    assert run.error is None
    assert get(db, "y").tolist() == [2.0, 2.0]
    assert info(db, "m")["calls"] == 1
    return waited


def test_a_run_after_the_answer_waits_for_the_new_model(hasty: RedisServer, db: redis.Redis) -> None:
    """A load cannot be held, so it takes the longer the more often it was over before the run came."""
    assert any(run_after_a_store(hasty, db, rounds) for rounds in (300, 3_000, 30_000))


def test_the_last_of_several_stores_wins(db: redis.Redis) -> None:
    store_model(db, "m", slow_to_load(1.0, LONG))
    store_model(db, "m", slow_to_load(2.0, 500))
    store_model(db, "m", constant(3.0))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [3.0, 3.0]


def test_what_is_wrong_is_said_by_the_runs_and_the_log(hasty: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", constant(1.0))
    store_model(db, "m", torchscript(DAMAGED_LATE, {"value": torch.ones(1)}))
    assert "these weights do not fit" in refusal(
        db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y"
    )
    wait_until(lambda: "these weights do not fit" in hasty.log(), "the log to say it")
    assert "these weights do not fit" in refusal(
        db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y"
    )
    store_model(db, "m", constant(3.0))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [3.0, 3.0]


def test_what_is_wrong_is_said_to_the_sender_when_that_is_soon_known(start_server: StartServer) -> None:
    db = start_server(arguments=("MODEL_STORE_TIMEOUT", "60000")).connect()
    store_model(db, "m", constant(1.0))
    assert refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", b"no model")
    put(db, "x", np.ones(2, np.float32))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [1.0, 1.0]


def test_a_model_that_is_deleted_while_it_loads_is_gone(db: redis.Redis) -> None:
    store_model(db, "m", slow_to_load(1.0, LONG))
    db.execute_command("AI.MODELDEL", "m")
    assert db.exists("m") == 0
    put(db, "x", np.ones(2, np.float32))
    store_model(db, "m", constant(5.0))  # loaded after the other, by the same thread
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [5.0, 5.0]


def test_a_client_that_left_before_the_answer_has_stored_its_model(
    hasty: RedisServer, db: redis.Redis
) -> None:
    with hasty.raw_socket() as raw:
        raw.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", slow_to_load(4.0, 500)))
        wait_until(lambda: blocked_clients(db) > 0 or db.exists("m") == 1, "the store")
    wait_until(lambda: db.exists("m") == 1, "the model to be in its key")
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [4.0, 4.0]


def test_a_load_that_never_ends_holds_up_no_other(hasty: RedisServer, db: redis.Redis) -> None:
    endless = edited(slow_to_load(1.0, LONG), f"range({LONG})", "range(1000000000000)")
    store_model(db, "endless", endless)
    store_model(db, "next", constant(2.0))
    execute(db, "next", ["x"], ["y"])
    assert get(db, "y").tolist() == [2.0, 2.0]
    assert "another thread goes on" in hasty.log()


def test_a_model_stored_early_is_saved_and_comes_back(hasty: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", slow_to_load(6.0, 500))
    hasty.restart("SAVE")
    db = hasty.connect()
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [6.0, 6.0]


def test_replaced_large_models_are_given_back(hasty: RedisServer, db: redis.Redis) -> None:
    """Each is freed by the loader thread, its string by the main one; neither twice, neither never."""
    before = int(db.info("memory")["used_memory"])
    for i in range(12):
        store_model(db, "m", heavy(16, step=float(i % 2)))
        if i % 3 == 2:
            db.execute_command("AI.MODELDEL", "m")
    assert db.exists("m") == 0
    wait_until(lambda: int(db.info("memory")["used_memory"]) < before + (4 << 20), "memory to be given back")


def test_models_replaced_within_a_transaction_reach_the_file_whole(start_server: StartServer) -> None:
    """The arguments of a transaction are written after its commands ran: none may be discarded before."""
    server = start_server(options={"appendonly": "yes", "aof-use-rdb-preamble": "no"})
    db = server.connect()
    pipeline = db.pipeline(transaction=True)
    for i in range(6):
        pipeline.execute_command("AI.MODELSTORE", f"m{i}", "TORCH", "CPU", "BLOB", heavy(4, step=float(i)))
        pipeline.execute_command("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", heavy(4, step=float(i)))
        pipeline.execute_command("RENAME", "m", f"n{i}")
    for i in range(6):
        pipeline.execute_command("AI.MODELDEL", f"m{i}")
    pipeline.execute()
    files = [f for f in server.config.directory.rglob("appendonly*") if f.is_file()]
    written = b"".join(file.read_bytes() for file in files)
    assert all(written.count(heavy(4, step=float(i))) == 2 for i in range(6))
