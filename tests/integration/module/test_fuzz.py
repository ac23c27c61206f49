"""Malformed commands in bulk: whatever is sent, the server answers and lives."""

from __future__ import annotations

import random

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.servers import RedisServer
from tests.integration.torchscript import adder

COMMANDS = [
    *("AI.TENSORSET", "AI.TENSORGET", "AI.MODELSTORE", "AI.MODELGET", "AI.MODELDEL", "AI.MODELEXECUTE"),
    *("AI.SCRIPTSET", "AI.SCRIPTSTORE", "AI.SCRIPTGET", "AI.SCRIPTDEL", "AI.SCRIPTRUN", "AI.SCRIPTEXECUTE"),
    *("AI.INFO",),
]
WORDS = [
    *(
        "t",
        "m",
        "s",
        "text",
        "nothing",
        "FLOAT",
        "INT8",
        "DOUBLE",
        "STRING",
        "BOOL",
        "BLOB",
        "VALUES",
        "META",
    ),
    *("INPUTS", "OUTPUTS", "KEYS", "ARGS", "TIMEOUT", "TAG", "BATCHSIZE", "MINBATCHSIZE", "MINBATCHTIMEOUT"),
    *("TORCH", "TF", "ONNX", "CPU", "GPU:0", "SOURCE", "ENTRY_POINTS", "f", "$", "RESETSTAT", ""),
    *("0", "1", "2", "3", "-1", "1.5", "99999999999", "9223372036854775807", "-9223372036854775808"),
]
words = st.one_of(st.sampled_from(WORDS), st.binary(max_size=20))


@pytest.fixture
def stocked(db: redis.Redis) -> redis.Redis:
    put(db, "t", np.ones(3))
    store_model(db, "m", adder())
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def f(a):\n    return a\n")
    db.set("text", "x")
    return db


@pytest.mark.fuzz
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command=st.sampled_from(COMMANDS), arguments=st.lists(words, max_size=12))
def test_any_words_are_answered(stocked: redis.Redis, command: str, arguments: list[str | bytes]) -> None:
    try:
        stocked.execute_command(command, *arguments)
    except redis.ResponseError as error:
        assert str(error)
    assert stocked.ping()


@pytest.mark.fuzz
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(damage=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=20))
def test_a_damaged_model_is_refused_or_works(stocked: redis.Redis, damage: list[tuple[int, int]]) -> None:
    blob = bytearray(adder())
    for position, value in damage:
        blob[position % len(blob)] = value
    try:
        stocked.execute_command("AI.MODELSTORE", "damaged", "TORCH", "CPU", "BLOB", bytes(blob))
        stocked.execute_command("AI.MODELEXECUTE", "damaged", "INPUTS", 2, "t", "t", "OUTPUTS", 1, "out")
    except redis.ResponseError as error:
        assert "\n" not in str(error)
    assert stocked.ping()


@pytest.mark.fuzz
def test_garbage_on_the_socket_hurts_nobody_else(server: RedisServer, db: redis.Redis) -> None:
    dice = random.Random(7)
    store_model(db, "m", adder())
    put(db, "a", np.ones(2))
    for _ in range(100):
        with server.raw_socket() as raw:
            start = dice.choice([b"", b"*3\r\n$12\r\nAI.TENSORSET\r\n", b"*99999999\r\n", b"AI.TENSORGET "])
            raw.sendall(start + dice.randbytes(dice.randrange(2000)))
    execute(db, "m", ["a", "a"], ["b"])
    np.testing.assert_array_equal(get(db, "b"), [2.0, 2.0])
