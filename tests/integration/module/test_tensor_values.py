"""VALUES, BOOL and STRING: tensors written and read as text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get, put, refusal

REFUSED = [
    ("invalid value", ("FLOAT", 2, "VALUES", 2, "A")),
    ("invalid value", ("INT32", 2, "VALUES", 2, "1.5")),
    ("invalid data type", ("INT128", 2, "VALUES", 2, 3)),
    ("invalid or negative value found in tensor shape", ("INT32", -1, "VALUES", 2, 3)),
    ("wrong number of values was given in 'AI.TENSORSET' command", ("FLOAT", 2, "VALUES", 1)),
    ("wrong number of values was given in 'AI.TENSORSET' command", ("FLOAT", 2, "VALUES", 1, 2, 3)),
    ("BOOL tensor elements must be 0 or 1", ("BOOL", 2, "BLOB", b"\1\2")),
    ("C-string value contains null character", ("STRING", 2, "VALUES", "good", b"b\0ad")),
    (
        "Number of string elements in data blob does not match tensor length",
        ("STRING", 2, "BLOB", b"single c-string\0"),
    ),
]


@pytest.mark.parametrize(("text", "arguments"), REFUSED, ids=str)
def test_refused_values_store_nothing(db: redis.Redis, text: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(db, "AI.TENSORSET", "t", *arguments) == text
    assert db.exists("t") == 0


def test_both_blob_and_values_are_refused(db: redis.Redis) -> None:
    put(db, "t", np.ones(2))
    assert refusal(db, "AI.TENSORGET", "t", "BLOB", "VALUES") == "both BLOB and VALUES specified"


@pytest.mark.parametrize("value", [300, -1, 256])
def test_a_value_beyond_its_type_is_refused(db: redis.Redis, value: int) -> None:
    assert refusal(db, "AI.TENSORSET", "t", "UINT8", 1, "VALUES", value)
    assert db.exists("t") == 0


@pytest.mark.parametrize(
    ("name", "dtype", "values"),
    [
        ("INT8", np.int8, [-128, 0, 127]),
        ("INT16", np.int16, [-32768, 0, 32767]),
        ("INT32", np.int32, [-(2**31), 0, 2**31 - 1]),
        ("INT64", np.int64, [-(2**63), 0, 2**63 - 1]),
        ("UINT8", np.uint8, [0, 1, 255]),
        ("UINT16", np.uint16, [0, 1, 65535]),
    ],
)
def test_integers(db: redis.Redis, name: str, dtype: type[np.generic], values: list[int]) -> None:
    assert db.execute_command("AI.TENSORSET", "t", name, 3, "VALUES", *values) == b"OK"
    np.testing.assert_array_equal(get(db, "t"), np.array(values, dtype))
    assert db.execute_command("AI.TENSORGET", "t", "VALUES") == values
    assert db.execute_command("AI.TENSORGET", "t", "META", "VALUES") == [
        *(b"dtype", name.encode(), b"shape", [3], b"values", values),
    ]


@pytest.mark.parametrize(("name", "dtype"), [("FLOAT", np.float32), ("DOUBLE", np.float64)])
def test_reals(db: redis.Redis, name: str, dtype: type[np.generic]) -> None:
    values = ["1", "-2.5", "1e-3", "3.25e10"]
    assert db.execute_command("AI.TENSORSET", "t", name, 2, 2, "VALUES", *values) == b"OK"
    np.testing.assert_array_equal(get(db, "t"), np.array(values, dtype).reshape(2, 2))
    read = db.execute_command("AI.TENSORGET", "t", "VALUES")
    np.testing.assert_allclose([float(v) for v in read], [float(v) for v in values], rtol=1e-6)


def test_booleans(db: redis.Redis) -> None:
    assert db.execute_command("AI.TENSORSET", "t", "BOOL", 3, "VALUES", 1, 0, 1) == b"OK"
    assert db.execute_command("AI.TENSORGET", "t", "BLOB") == b"\1\0\1"
    assert db.execute_command("AI.TENSORGET", "t", "VALUES") == [1, 0, 1]


def test_strings(db: redis.Redis) -> None:
    words = [b"first", b"", b"with space", "grün".encode()]
    assert db.execute_command("AI.TENSORSET", "t", "STRING", 2, 2, "VALUES", *words) == b"OK"
    assert db.execute_command("AI.TENSORGET", "t", "VALUES") == words
    blob = b"".join(word + b"\0" for word in words)
    assert db.execute_command("AI.TENSORGET", "t", "BLOB") == blob
    assert db.execute_command("AI.TENSORSET", "u", "STRING", 4, "BLOB", blob) == b"OK"
    assert db.execute_command("AI.TENSORGET", "u", "VALUES") == words
