"""AI.TENSORSET and AI.TENSORGET: what is stored comes back, bad input is named and stores nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.integration.ai_commands import TYPES, get, put, refusal

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
FOUR = np.zeros(2, np.float32).tobytes()[:4]

REFUSED_SETS = [
    ("wrong number of arguments for 'AI.TENSORSET' command", ()),
    ("wrong number of arguments for 'AI.TENSORSET' command", ("t",)),
    ("invalid data type", ("t", "INT128", 2, "BLOB", FOUR * 2)),
    ("invalid data type", ("t", "", 1, "BLOB", FOUR)),
    ("invalid data type", ("t", "COMPLEX32", 1, "BLOB", FOUR * 2)),
    ("invalid or negative value found in tensor shape", ("t", "FLOAT", -1, "BLOB", FOUR)),
    ("invalid or negative value found in tensor shape", ("t", "FLOAT", "two", "BLOB", FOUR)),
    ("invalid or negative value found in tensor shape", ("t", "FLOAT", "1.5", "BLOB", FOUR)),
    ("invalid or negative value found in tensor shape", ("t", "FLOAT", 2, -3, "BLOB", FOUR)),
    ("data length does not match tensor shape and type", ("t", "FLOAT", 1, 1, 28, 280, "BLOB", FOUR)),
    ("data length does not match tensor shape and type", ("t", "DOUBLE", 1, "BLOB", FOUR)),
    ("data length does not match tensor shape and type", ("t", "FLOAT", 1, "BLOB", b"")),
    ("data length does not match tensor shape and type", ("t", "FLOAT", 1, "BLOB", FOUR + b"x")),
    ("data length does not match tensor shape and type", ("t", "FLOAT", "BLOB", FOUR * 2)),
    (
        "a single binary string should come after the BLOB argument in 'AI.TENSORSET' command",
        ("t", "FLOAT", 1, "BLOB", FOUR, "extra-argument"),
    ),
    (
        "a single binary string should come after the BLOB argument in 'AI.TENSORSET' command",
        ("t", "FLOAT", 1, "BLOB"),
    ),
]

REFUSED_GETS = [
    ("wrong number of arguments for 'AI.TENSORGET' command", ()),
    ("tensor key is empty or in a different shard", ("nothing",)),
    ("unsupported data format", ("t", "unsupported_format")),
    ("unsupported data format", ("t", "META", "unsupported_format")),
    (WRONG_TYPE, ("text",)),
]

arrays = st.sampled_from(list(TYPES.values())).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=6, min_side=1, max_side=5))
)


@pytest.mark.parametrize(("text", "arguments"), REFUSED_SETS, ids=str)
def test_refused_set_names_the_fault_and_stores_nothing(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    assert refusal(db, "AI.TENSORSET", *arguments) == text
    assert db.dbsize() == 0


@pytest.mark.parametrize(("text", "arguments"), REFUSED_SETS, ids=str)
def test_refused_set_keeps_the_tensor_that_was_there(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    before = np.arange(6, dtype=np.int16).reshape(2, 3)
    put(db, "t", before)
    assert refusal(db, "AI.TENSORSET", *arguments) == text
    np.testing.assert_array_equal(get(db, "t"), before)


@pytest.mark.parametrize(("text", "arguments"), REFUSED_GETS, ids=str)
def test_refused_get_names_the_fault(db: redis.Redis, text: str, arguments: tuple[Any, ...]) -> None:
    put(db, "t", np.ones(3))
    db.set("text", "not a tensor")
    assert refusal(db, "AI.TENSORGET", *arguments) == text


@pytest.mark.parametrize(
    "shape",
    [
        (2**62, 4),  # elements overflow 64 bits
        (2**63 - 1,),  # bytes overflow
        (2**32, 2**32),
        (2**16,) * 8,
        (0, 2**62, 2**62),
        (2**40,),  # no overflow, and no such memory
    ],
)
def test_huge_shape_is_refused_and_the_server_lives(db: redis.Redis, shape: tuple[int, ...]) -> None:
    """Dimensions whose product wraps around must not pass for a small tensor."""
    assert refusal(db, "AI.TENSORSET", "t", "INT32", *shape, "BLOB", FOUR)
    assert db.exists("t") == 0


@pytest.mark.parametrize("shape", [(2**62, 4), (2**63 - 1,), (2**60,), (2**16,) * 8])
def test_huge_tensor_of_zeros_is_refused_and_the_server_lives(
    db: redis.Redis, shape: tuple[int, ...]
) -> None:
    assert refusal(db, "AI.TENSORSET", "t", "DOUBLE", *shape)
    assert db.exists("t") == 0


def test_shape_beyond_64_bits_is_refused(db: redis.Redis) -> None:
    text = "invalid or negative value found in tensor shape"
    assert refusal(db, "AI.TENSORSET", "t", "FLOAT", 2**64 + 1, "BLOB", FOUR) == text


def test_set_refuses_to_overwrite_what_is_no_tensor(db: redis.Redis) -> None:
    db.rpush("list", "a")
    assert refusal(db, "AI.TENSORSET", "list", "FLOAT", 1, "BLOB", FOUR) == WRONG_TYPE
    assert db.lrange("list", 0, -1) == [b"a"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays)
def test_every_dtype_and_shape_comes_back_bit_by_bit(db: redis.Redis, array: np.ndarray[Any, Any]) -> None:
    put(db, "t", array)
    back = get(db, "t")
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays=st.lists(arrays, min_size=2, max_size=8))
def test_overwriting_leaves_the_last(db: redis.Redis, arrays: list[np.ndarray[Any, Any]]) -> None:
    for array in arrays:
        put(db, "t", array)
    assert get(db, "t").tobytes() == arrays[-1].tobytes()
    assert db.dbsize() == 1


@pytest.mark.parametrize("size", [1, 30_000, 32_768, 32_769, 200_000, 4_194_304])
def test_bytes_survive_on_both_sides_of_the_held_argument(db: redis.Redis, size: int) -> None:
    """Above 32 KB Redis makes the query buffer itself the argument; the module must copy or hold alike."""
    array = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    put(db, "t", array)
    for i in range(50):  # the connection's buffer is used again and must not be the tensor
        db.set(f"filler{i}", b"x" * min(size, 100_000))
    np.testing.assert_array_equal(get(db, "t"), array)


def test_pipelined_tensors_do_not_share_a_buffer(db: redis.Redis) -> None:
    arrays = [np.full(n, i, np.int32) for i, n in enumerate([10, 9_000, 10_000, 3, 300_000, 8_192])]
    with db.pipeline(transaction=False) as pipeline:
        for i, array in enumerate(arrays):
            pipeline.execute_command("AI.TENSORSET", f"t{i}", "INT32", array.size, "BLOB", array.tobytes())
        pipeline.execute()
    for i, array in enumerate(arrays):
        np.testing.assert_array_equal(get(db, f"t{i}"), array)


def test_names_are_taken_in_any_case(db: redis.Redis) -> None:
    data = np.arange(4, dtype=np.uint16)
    assert db.execute_command("ai.tensorset", "t", "uInt16", 2, 2, "blob", data.tobytes()) == b"OK"
    assert db.execute_command("ai.tensorget", "t", "meta") == [b"dtype", b"UINT16", b"shape", [2, 2]]
    assert db.execute_command("ai.tensorget", "t", "Blob") == data.tobytes()


def test_get_without_a_format_means_meta_and_blob(db: redis.Redis) -> None:
    put(db, "t", np.ones((1, 2)))
    both = [b"dtype", b"DOUBLE", b"shape", [1, 2], b"blob", np.ones(2).tobytes()]
    assert db.execute_command("AI.TENSORGET", "t") == both
    assert db.execute_command("AI.TENSORGET", "t", "META", "BLOB") == both
    assert db.execute_command("AI.TENSORGET", "t", "BLOB", "META") == both


@pytest.mark.parametrize("name", TYPES)
def test_neither_blob_nor_values_makes_zeros(db: redis.Redis, name: str) -> None:
    assert db.execute_command("AI.TENSORSET", "t", name, 3, 4) == b"OK"
    np.testing.assert_array_equal(get(db, "t"), np.zeros((3, 4), TYPES[name]))


def test_no_dimensions_make_a_scalar(db: redis.Redis) -> None:
    put(db, "t", np.array(2.5))
    assert get(db, "t").shape == ()
    assert get(db, "t") == 2.5


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 5), (2, 0, 2)])
def test_empty_array_comes_back_empty(db: redis.Redis, shape: tuple[int, ...]) -> None:
    put(db, "t", np.zeros(shape, np.float32))
    assert get(db, "t").shape == shape


def test_redis_own_commands_work_on_tensors(db: redis.Redis) -> None:
    put(db, "t", np.arange(3.0))
    db.rename("t", "u")
    assert db.exists("t") == 0
    assert db.expire("u", 1000)
    assert db.ttl("u") > 0
    np.testing.assert_array_equal(get(db, "u"), np.arange(3.0))
    assert db.type("u") == b"AI_TENSOR"
    assert db.unlink("u") == 1
    assert refusal(db, "AI.TENSORGET", "u") == "tensor key is empty or in a different shard"
    assert refusal(db, "GET", "missing-is-nil-but-this-is-not", "extra").startswith("wrong number")


def test_a_key_that_expired_is_empty(db: redis.Redis) -> None:
    put(db, "t", np.ones(2))
    db.pexpireat("t", 1)
    assert refusal(db, "AI.TENSORGET", "t") == "tensor key is empty or in a different shard"
