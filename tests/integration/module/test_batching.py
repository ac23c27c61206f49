"""Models stored with BATCHSIZE: what waits and fits shares a run, and nobody pays for another's mistake."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.module.long_runs import blocked_clients, held_run, resp, run_command
from tests.integration.servers import RedisServer, wait_until
from tests.integration.torchscript import adder, forward, rows, torchscript

WRONG_ROWS = "Model did not generate the expected batch size"
BATCHING = "a model that was stored with BATCHSIZE"


def ask_together(server: RedisServer, db: redis.Redis, commands: Sequence[bytes]) -> list[bytes]:
    """Send each command on its own connection while the worker is held; return their answers in order."""
    with held_run(server, db) as held, ExitStack() as stack:
        sockets: list[socket.socket] = []
        for number, command in enumerate(commands):
            raw = stack.enter_context(server.raw_socket())
            raw.sendall(command)
            wait_until(lambda n=number: blocked_clients(db) == 2 + n, "the run to wait")
            sockets.append(raw)
        held.end()
        return [raw.recv(1000) for raw in sockets]


def run_together(server: RedisServer, db: redis.Redis, model: str, inputs: Sequence[str]) -> list[bytes]:
    """Ask for a run of each input while the worker is held; return the answers in that order."""
    return ask_together(server, db, [run_command(model, name, output=f"out-{name}") for name in inputs])


def test_what_waits_shares_a_run_of_at_most_batchsize_rows(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", rows(), "BATCHSIZE", 4)
    for i in range(6):
        put(db, f"x{i}", np.ones((1, 3), np.float32))
    assert run_together(server, db, "m", [f"x{i}" for i in range(6)]) == [b"+OK\r\n"] * 6
    assert [get(db, f"out-x{i}")[0, 0] for i in range(6)] == [4, 4, 4, 4, 2, 2]
    assert get(db, "out-x0").shape == (1, 3)
    facts = info(db, "m")
    assert (facts["calls"], facts["samples"], facts["errors"]) == (6, 6, 0)


def test_each_request_gets_its_own_rows(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", forward("return x + 1"), "BATCHSIZE", 100)
    given = {f"x{i}": np.random.default_rng(i).random((i + 1, 5)) for i in range(8)}
    for name, array in given.items():
        put(db, name, array)
    assert set(run_together(server, db, "m", list(given))) == {b"+OK\r\n"}
    for name, array in given.items():
        np.testing.assert_array_equal(get(db, f"out-{name}"), array + 1)
    assert info(db, "m")["samples"] == sum(len(array) for array in given.values())


def test_other_shapes_and_types_are_batched_apart(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", rows(), "BATCHSIZE", 100)
    put(db, "a", np.ones((1, 3), np.float32))
    put(db, "b", np.ones((1, 4), np.float32))
    put(db, "c", np.ones((2, 3), np.float32))
    put(db, "d", np.ones((1, 3), np.float64))
    put(db, "large", np.ones((101, 3), np.float32))
    names = ["a", "b", "c", "d", "large"]
    assert run_together(server, db, "m", names) == [b"+OK\r\n"] * 5
    assert [get(db, f"out-{name}")[0, 0] for name in names] == [3, 1, 3, 1, 101]


def test_a_bad_request_fails_alone(server: RedisServer, db: redis.Redis) -> None:
    source = "assert bool((x >= 0).all()), 'x must not be negative'\nreturn x + 1"
    store_model(db, "m", forward(source), "BATCHSIZE", 10)
    for i in range(4):
        put(db, f"x{i}", np.full((1, 2), -1.0 if i == 2 else i))
    answers = run_together(server, db, "m", [f"x{i}" for i in range(4)])
    assert answers[:2] + answers[3:] == [b"+OK\r\n"] * 3
    assert b"x must not be negative" in answers[2]
    assert get(db, "out-x3")[0, 0] == 4
    assert (info(db, "m")["calls"], info(db, "m")["errors"]) == (4, 1)


def test_inputs_that_are_no_batch_are_refused_each_by_itself(db: redis.Redis) -> None:
    store_model(db, "m", adder(), "BATCHSIZE", 10)
    put(db, "two", np.ones((2, 1)))
    put(db, "three", np.ones((3, 1)))
    db.execute_command("AI.TENSORSET", "scalar", "DOUBLE", "VALUES", 1)
    different = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 2, "two", "three", "OUTPUTS", 1, "y")
    assert different == f"the inputs of {BATCHING} must have the same first dimension"
    scalar = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 2, "two", "scalar", "OUTPUTS", 1, "y")
    assert scalar == f"a scalar cannot be an input of {BATCHING}"
    execute(db, "m", ["two", "two"], ["y"])


@pytest.mark.parametrize(
    "source", ["return x.sum()", "return x[0:0]", "return torch.cat([x, x])", "return x.sum(0)"], ids=str
)
def test_redisai_defect_6_outputs_that_are_no_batch_are_an_error(db: redis.Redis, source: str) -> None:
    """Alone as in company; RedisAI divides by a first dimension of 0."""
    store_model(db, "m", forward(source), "BATCHSIZE", 10)
    put(db, "x", np.ones((3, 2)))
    for _ in range(12):
        assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == WRONG_ROWS
    assert db.exists("y") == 0


def test_a_batch_of_one_only_is_answered_in_company_too(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", forward("return x.sum(0, keepdim=True)"), "BATCHSIZE", 10)
    for i in range(3):
        put(db, f"x{i}", np.full((1, 2), float(i)))
    assert run_together(server, db, "m", ["x0", "x1", "x2"]) == [b"+OK\r\n"] * 3
    assert [get(db, f"out-x{i}")[0, 0] for i in range(3)] == [0, 1, 2]


def test_several_inputs_and_outputs_are_cut_alike(server: RedisServer, db: redis.Redis) -> None:
    source = "def forward(self, a, b):\n    n = a.size(0)\n    return a + b.sum(1, keepdim=True), a - n\n"
    store_model(db, "m", torchscript(source), "BATCHSIZE", 10)
    for i in range(3):
        put(db, f"a{i}", np.full((1, 2), float(i)))
        put(db, f"b{i}", np.full((1, 5), float(i)))
    runs = [
        resp("AI.MODELEXECUTE", "m", "INPUTS", 2, f"a{i}", f"b{i}", "OUTPUTS", 2, f"s{i}", f"d{i}")
        for i in range(3)
    ]
    assert ask_together(server, db, runs) == [b"+OK\r\n"] * 3
    for i in range(3):
        np.testing.assert_array_equal(get(db, f"s{i}"), np.full((1, 2), 6.0 * i))
        np.testing.assert_array_equal(get(db, f"d{i}"), np.full((1, 2), i - 3.0))  # three shared it


def test_minbatchsize_waits_for_company(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", rows(), "BATCHSIZE", 10, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 60_000)
    put(db, "x", np.ones((1, 2), np.float32))
    with server.raw_socket() as first:
        first.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 1, "the first run to wait")
        execute(db, "m", ["x"], ["z"])
        assert first.recv(100) == b"+OK\r\n"
    assert (get(db, "y")[0, 0], get(db, "z")[0, 0]) == (2, 2)


@pytest.mark.parametrize("options", [(), ("MINBATCHTIMEOUT", 20)], ids=str)
def test_redisai_defect_8_minbatchsize_ends_its_wait(db: redis.Redis, options: tuple[object]) -> None:
    store_model(db, "m", rows(), "BATCHSIZE", 10, "MINBATCHSIZE", 5, *options)
    put(db, "x", np.ones((1, 2), np.float32))
    assert execute(db, "m", ["x"], ["y"]) == b"OK"
    assert get(db, "y")[0, 0] == 1


def test_a_run_that_waits_for_company_is_answered_at_its_timeout(db: redis.Redis) -> None:
    store_model(db, "m", rows(), "BATCHSIZE", 10, "MINBATCHSIZE", 5, "MINBATCHTIMEOUT", 60_000)
    put(db, "x", np.ones((1, 2), np.float32))
    assert execute(db, "m", ["x"], ["y"], "TIMEOUT", 30) == b"TIMEDOUT"
    assert db.exists("y") == 0
