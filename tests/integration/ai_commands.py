"""The AI.* commands as the tests say them, over a plain Redis connection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

TYPES = {
    "FLOAT": np.float32,
    "DOUBLE": np.float64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
}
"""The wire's name of each dtype that SmartRedis can carry."""

NEW_TYPES = {
    "FLOAT16": np.float16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "COMPLEX64": np.complex64,
    "COMPLEX128": np.complex128,
}
"""The wire's name of each dtype that RedisAI does not know and numpy does (BFLOAT16 is the one left)."""

ALL_TYPES = {**TYPES, **NEW_TYPES}

NAMES = {np.dtype(dtype): name for name, dtype in ALL_TYPES.items()}


def command_of(key: str, array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Return the command that stores an array."""
    return ("AI.TENSORSET", key, NAMES[array.dtype], *array.shape, "BLOB", array.tobytes())


def put(db: redis.Redis, key: str, array: np.ndarray[Any, Any]) -> None:
    """Store an array."""
    assert db.execute_command(*command_of(key, array)) == b"OK"


def get(db: redis.Redis, key: str) -> np.ndarray[Any, Any]:
    """Fetch an array, checking the shape of the reply on the way."""
    reply = db.execute_command("AI.TENSORGET", key, "META", "BLOB")
    assert reply[0::2] == [b"dtype", b"shape", b"blob"]
    dtype, shape, blob = reply[1::2]
    return np.frombuffer(blob, ALL_TYPES[dtype.decode()]).reshape(shape)


def store_model(db: redis.Redis, key: str, blob: bytes, *options: Any) -> None:
    """Store a TorchScript model on the CPU."""
    assert db.execute_command("AI.MODELSTORE", key, "TORCH", "CPU", *options, "BLOB", blob) == b"OK"


def execute(db: redis.Redis, key: str, inputs: list[str], outputs: list[str], *options: Any) -> Any:
    """Run a model; returns the reply."""
    return db.execute_command(
        "AI.MODELEXECUTE", key, "INPUTS", len(inputs), *inputs, "OUTPUTS", len(outputs), *outputs, *options
    )


def info(db: redis.Redis, key: str) -> dict[str, Any]:
    """Return a model's or script's run statistics."""
    reply = db.execute_command("AI.INFO", key)
    return {name.decode(): value for name, value in zip(reply[0::2], reply[1::2], strict=True)}


def refusal(db: redis.Redis, *command: Any) -> str:
    """Return the error that a command is answered with; fails when there is none."""
    with pytest.raises(redis.ResponseError) as caught:
        db.execute_command(*command)
    text = str(caught.value)
    assert "\n" not in text
    assert "\r" not in text
    return text
