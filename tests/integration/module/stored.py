"""A database with one of everything and the check that it is whole: for the tests of what survives."""

from __future__ import annotations

import numpy as np
import redis

from tests.integration.ai_commands import TYPES, execute, get, put, store_model
from tests.integration.torchscript import adder, constant

SET_SOURCE = "def double(a):\n    return a * 2\n"
STORE_SOURCE = (
    "def triple(tensors: List[Tensor], keys: List[str], args: List[str]):\n    return tensors[0] * 3\n"
)
LARGE = np.random.default_rng(0).standard_normal(300_000)
ODD = np.arange(24).reshape(2, 3, 4)


def store_everything(db: redis.Redis) -> None:
    """Store tensors of every dtype, small and large, models with options, and both kinds of script."""
    for name, dtype in TYPES.items():
        put(db, name, ODD.astype(dtype))
    put(db, "large", LARGE)
    put(db, "scalar", np.array(4.25))
    store_model(db, "adder", adder(), "TAG", "v1", "BATCHSIZE", 4, "MINBATCHSIZE", 2, "MINBATCHTIMEOUT", 30)
    store_model(db, "constant", constant(5.0))
    db.execute_command("AI.SCRIPTSET", "set", "CPU", "TAG", "s1", "SOURCE", SET_SOURCE)
    db.execute_command(
        "AI.SCRIPTSTORE", "stored", "CPU", "TAG", "s2", "ENTRY_POINTS", 1, "triple", "SOURCE", STORE_SOURCE
    )


def check_everything(db: redis.Redis) -> None:
    """Check every value bit by bit, then run each model and script."""
    check_values(db)
    put(db, "one", np.ones(3))
    execute(db, "constant", ["one"], ["out"])
    np.testing.assert_array_equal(get(db, "out"), np.full(3, 5.0))
    db.execute_command("AI.SCRIPTRUN", "set", "double", "INPUTS", "one", "OUTPUTS", "out")
    np.testing.assert_array_equal(get(db, "out"), np.full(3, 2.0))
    db.execute_command("AI.SCRIPTEXECUTE", "stored", "triple", "INPUTS", 1, "one", "OUTPUTS", 1, "out")
    np.testing.assert_array_equal(get(db, "out"), np.full(3, 3.0))
    db.delete("one", "out")


def check_values(db: redis.Redis) -> None:
    """Check every value bit by bit, running nothing."""
    for name, dtype in TYPES.items():
        value = get(db, name)
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, ODD.astype(dtype))
    np.testing.assert_array_equal(get(db, "large"), LARGE)
    assert get(db, "scalar").shape == ()
    assert db.execute_command("AI.MODELGET", "adder") == [
        *(b"backend", b"TORCH", b"device", b"CPU", b"tag", b"v1", b"batchsize", 4, b"minbatchsize", 2),
        *(b"inputs", [b"a", b"b"], b"outputs", [], b"minbatchtimeout", 30, b"blob", adder()),
    ]
    assert db.execute_command("AI.MODELGET", "constant", "BLOB") == constant(5.0)
    assert db.execute_command("AI.SCRIPTGET", "set") == [
        *(b"device", b"CPU", b"tag", b"s1", b"Entry Points", [], b"source", SET_SOURCE.encode()),
    ]
    assert db.execute_command("AI.SCRIPTGET", "stored") == [
        *(b"device", b"CPU", b"tag", b"s2", b"Entry Points", [b"triple"], b"source", STORE_SOURCE.encode()),
    ]
