"""AI.MODELSET and AI.MODELRUN: the deprecated forms, whose names have no counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal
from tests.integration.module.long_runs import held_run
from tests.integration.servers import RedisServer
from tests.integration.torchscript import adder, sum_and_difference

A = np.array([1.0, 2.0])
B = np.array([10.0, 20.0])

REFUSED_SETS = [
    ("wrong number of arguments for 'AI.MODELSET' command", ("m", "BLOB")),
    ("unsupported backend", ("m", "PORCH", "CPU", "BLOB", b"x")),
    ("Invalid DEVICE", ("m", "TORCH", "bad_device", "BLOB", b"x")),
    ("Insufficient arguments, missing model BLOB", ("m", "TORCH", "CPU")),
    ("Insufficient arguments, missing model BLOB", ("m", "TORCH", "CPU", "BLOB")),
    ("Insufficient arguments, missing model BLOB", ("m", "TORCH", "CPU", "TAG")),
    ("Invalid argument, expected BLOB", ("m", "TORCH", "CPU", "NOT_BLOB", b"x")),
    ("MINBATCHSIZE specified without BATCHSIZE", ("m", "TORCH", "CPU", "MINBATCHSIZE", 2, "BLOB", b"x")),
    ("Insufficient arguments, INPUTS and OUTPUTS not specified", ("m", "TF", "CPU", "BLOB", b"x")),
    ("INPUTS not specified for TF", ("m", "TF", "CPU", "OUTPUTS", "y", "BLOB", b"x")),
    ("OUTPUTS not specified for TF", ("m", "TF", "CPU", "INPUTS", "x", "BLOB", b"x")),
    ("Insufficient arguments, missing model BLOB", ("m", "TF", "CPU", "INPUTS", "x", "OUTPUTS", "y")),
]

REFUSED_RUNS = [
    ("wrong number of arguments for 'AI.MODELRUN' command", ("m", "INPUTS", "a", "OUTPUTS")),
    ("INPUTS not specified", ("m", "NOT_INPUTS", "a", "b", "OUTPUTS", "c")),
    ("OUTPUTS not specified", ("m", "INPUTS", "a", "b", "NOT_OUTPUTS", "c")),
    ("Invalid value for TIMEOUT", ("m", "TIMEOUT", -1, "INPUTS", "a", "b", "OUTPUTS", "c")),
    ("model key is empty", ("no_model", "INPUTS", "a", "b", "OUTPUTS", "c")),
    ("tensor key is empty or in a different shard", ("m", "INPUTS", "a", "none", "OUTPUTS", "c")),
    (
        "Number of keys given as INPUTS here does not match model definition",
        ("m", "INPUTS", "a", "OUTPUTS", "c"),
    ),
    (
        "Number of keys given as OUTPUTS here does not match model definition",
        ("m", "INPUTS", "a", "b", "OUTPUTS", "c", "d"),
    ),
]


@pytest.fixture
def stored(db: redis.Redis) -> None:
    assert db.execute_command("AI.MODELSET", "m", "TORCH", "CPU", "TAG", "v1", "BLOB", adder()) == b"OK"
    put(db, "a", A)
    put(db, "b", B)


@pytest.mark.usefixtures("stored")
def test_what_is_set_is_run_by_either_command(db: redis.Redis) -> None:
    assert db.execute_command("AI.MODELRUN", "m", "INPUTS", "a", "b", "OUTPUTS", "c") == b"OK"
    np.testing.assert_array_equal(get(db, "c"), A + B)
    assert execute(db, "m", ["a", "b"], ["d"]) == b"OK"
    np.testing.assert_array_equal(get(db, "d"), A + B)
    meta = db.execute_command("AI.MODELGET", "m", "META")
    assert meta[:8] == [b"backend", b"TORCH", b"device", b"CPU", b"tag", b"v1", b"batchsize", 0]


def test_all_options(db: redis.Redis) -> None:
    batching = ("BATCHSIZE", 4, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 30)
    names = ("INPUTS", "x", "y", "OUTPUTS", "sum")  # TorchScript knows its own: these are dropped
    blob = adder()
    pieces = (blob[:100], blob[100:])
    command = ("AI.MODELSET", "m", "torch", "cpu", *batching, *names, "BLOB", *pieces)
    assert db.execute_command(*command) == b"OK"
    assert db.execute_command("AI.MODELGET", "m") == [
        *(b"backend", b"TORCH", b"device", b"CPU", b"tag", b"", b"batchsize", 4, b"minbatchsize", 2),
        *(b"inputs", [b"a", b"b"], b"outputs", [], b"minbatchtimeout", 30, b"blob", adder()),
    ]


def test_several_outputs(db: redis.Redis) -> None:
    db.execute_command("AI.MODELSET", "m", "TORCH", "CPU", "BLOB", sum_and_difference())
    put(db, "a", A)
    put(db, "b", B)
    run = ("AI.MODELRUN", "m", "TIMEOUT", 60_000, "INPUTS", "a", "b", "OUTPUTS", "s", "d")
    assert db.execute_command(*run) == b"OK"
    np.testing.assert_array_equal(get(db, "s"), A + B)
    np.testing.assert_array_equal(get(db, "d"), A - B)


@pytest.mark.parametrize(("text", "arguments"), REFUSED_SETS, ids=str)
def test_refused_sets_name_the_fault_and_store_nothing(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    assert refusal(db, "AI.MODELSET", *arguments) == text
    assert db.dbsize() == 0


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("text", "arguments"), REFUSED_RUNS, ids=str)
def test_refused_runs_name_the_fault_and_store_nothing(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    assert refusal(db, "AI.MODELRUN", *arguments) == text
    assert db.exists("c", "d") == 0


def test_a_run_that_waited_too_long_is_not_done(server: RedisServer, db: redis.Redis) -> None:
    db.execute_command("AI.MODELSET", "m", "TORCH", "CPU", "BLOB", adder())
    put(db, "a", A)
    with held_run(server, db) as held:
        run = ("AI.MODELRUN", "m", "TIMEOUT", 1, "INPUTS", "a", "a", "OUTPUTS", "late")
        assert db.execute_command(*run) == b"TIMEDOUT"
        held.end()
    assert db.exists("late") == 0
