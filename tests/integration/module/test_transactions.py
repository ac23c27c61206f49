"""Commands that run off the main thread are refused inside MULTI and Lua; the others work there."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.servers import RedisServer
from tests.integration.torchscript import adder

REFUSED = "Cannot run RedisAI command within a transaction or a LUA script"
RUNS = [
    "AI.MODELEXECUTE m INPUTS 2 a a OUTPUTS 1 out",
    "AI.MODELRUN m INPUTS a a OUTPUTS out",
    "AI.DAGEXECUTE LOAD 1 a PERSIST 1 out |> AI.MODELEXECUTE m INPUTS 2 a a OUTPUTS 1 out",
    "AI.DAGEXECUTE_RO LOAD 1 a |> AI.TENSORGET a",
    "AI.DAGRUN PERSIST 1 out |> AI.TENSORSET out FLOAT 1",
    "AI.DAGRUN_RO LOAD 1 a |> AI.MODELRUN m INPUTS a a OUTPUTS out",
    "AI.SCRIPTRUN s double INPUTS a OUTPUTS out",
    "AI.SCRIPTEXECUTE s double INPUTS 1 a OUTPUTS 1 out",
]


@pytest.fixture(autouse=True)
def stored(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", "def double(a):\n    return a * 2\n")
    put(db, "a", np.ones(2))


@pytest.mark.parametrize("command", RUNS)
def test_a_run_in_a_transaction_is_refused(db: redis.Redis, command: str) -> None:
    with db.pipeline(transaction=True) as pipeline:
        pipeline.set("before", 1)
        pipeline.execute_command(*command.split())
        pipeline.set("after", 2)
        replies = pipeline.execute(raise_on_error=False)
    assert REFUSED in str(replies[1])
    assert db.mget("before", "after") == [b"1", b"2"]
    assert db.exists("out") == 0


@pytest.mark.parametrize("command", RUNS)
def test_a_run_in_lua_is_refused(db: redis.Redis, command: str) -> None:
    words = ", ".join(f"'{word}'" for word in command.split())
    assert REFUSED in refusal(db, "EVAL", f"return redis.call({words})", 0)
    assert db.exists("out") == 0


def test_a_transaction_carries_tensors(db: redis.Redis) -> None:
    with db.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("AI.TENSORSET", "t", "DOUBLE", 2, "BLOB", np.arange(2.0).tobytes())
        pipeline.execute_command("AI.TENSORGET", "t", "BLOB")
        assert pipeline.execute() == [b"OK", np.arange(2.0).tobytes()]


def test_lua_carries_tensors(db: redis.Redis) -> None:
    script = (
        "redis.call('AI.TENSORSET', KEYS[1], 'DOUBLE', 2, 'BLOB', ARGV[1]) "
        "return redis.call('AI.TENSORGET', KEYS[1], 'BLOB')"
    )
    data = np.array([3.5, -1.0]).tobytes()
    assert db.execute_command("EVAL", script, 1, "t", data) == data
    np.testing.assert_array_equal(get(db, "t"), [3.5, -1.0])


def test_large_tensors_from_lua_are_whole(db: redis.Redis) -> None:
    """Lua's argument strings live only as long as the call: what is held must be ours."""
    script = "for i = 1, 20 do redis.call('AI.TENSORSET', 't' .. i, 'UINT8', 100000, 'BLOB', ARGV[1]) end"
    array = np.random.default_rng(1).integers(0, 256, 100_000, np.uint8)
    db.execute_command("EVAL", script, 0, array.tobytes())
    db.execute_command("EVAL", "return #ARGV[1]", 0, b"x" * 100_000)
    for i in range(1, 21):
        np.testing.assert_array_equal(get(db, f"t{i}"), array)


def test_a_model_stored_in_a_transaction_is_there_at_once_and_runs(db: redis.Redis) -> None:
    """Nobody can be blocked there: it loads in the background, and a run waits for that."""
    with db.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("AI.MODELSTORE", "n", "TORCH", "CPU", "BLOB", adder())
        pipeline.exists("n")
        assert pipeline.execute() == [b"OK", 1]
    assert execute(db, "n", ["a", "a"], ["out"]) == b"OK"
    np.testing.assert_array_equal(get(db, "out"), [2.0, 2.0])


def test_a_watched_output_stops_the_transaction(server: RedisServer, db: redis.Redis) -> None:
    """A run writes its outputs after its command: the key must still count as modified."""
    put(db, "out", np.zeros(2))
    with server.connect() as other, other.pipeline() as pipeline:
        pipeline.watch("out")
        db.execute_command(*RUNS[0].split())
        pipeline.multi()
        pipeline.set("after", 1)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert db.exists("after") == 0
