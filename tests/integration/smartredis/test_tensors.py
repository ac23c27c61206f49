"""Tensors through SmartRedis: every dtype, put, get, copy, rename, delete, exists and poll."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from smartredis import Client
from smartredis.error import RedisReplyError

from tests.integration.ai_commands import TYPES

DTYPES = list(TYPES.values())
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=5, max_side=6))
)


@pytest.mark.parametrize("dtype", DTYPES, ids=TYPES)
def test_every_dtype_comes_back(client: Client, dtype: type[np.generic]) -> None:
    array = np.random.default_rng(1).integers(0, 120, (3, 4, 5)).astype(dtype)
    client.put_tensor("t", array)
    back = client.get_tensor("t")
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays)
def test_every_shape_comes_back_bit_by_bit(client: Client, array: np.ndarray[Any, Any]) -> None:
    client.put_tensor("t", array)
    back = client.get_tensor("t")
    assert back.shape == array.shape
    assert np.ascontiguousarray(back).tobytes() == array.tobytes()


@pytest.mark.parametrize("megabytes", [4, 64])
def test_large_tensors_come_back(client: Client, megabytes: int) -> None:
    array = np.random.default_rng(2).standard_normal(megabytes << 17)
    client.put_tensor("t", array)
    np.testing.assert_array_equal(client.get_tensor("t"), array)


@pytest.mark.parametrize("dtype", [np.float16, np.bool_, np.uint32, np.complex64])
def test_dtypes_the_wire_cannot_carry_store_nothing(client: Client, dtype: type[np.generic]) -> None:
    with pytest.raises(TypeError):
        client.put_tensor("t", np.ones(2, dtype))
    assert not client.tensor_exists("t")


def test_missing_tensor_is_an_error(client: Client) -> None:
    with pytest.raises(RedisReplyError):
        client.get_tensor("nothing")


def test_put_overwrites(client: Client) -> None:
    client.put_tensor("t", np.ones((2, 2)))
    client.put_tensor("t", np.arange(5, dtype=np.int8))
    np.testing.assert_array_equal(client.get_tensor("t"), np.arange(5))


def test_many_tensors_spread_over_the_shards(client: Client) -> None:
    for i in range(60):
        client.put_tensor(f"field_{i}", np.full(10, i))
    for i in range(60):
        np.testing.assert_array_equal(client.get_tensor(f"field_{i}"), np.full(10, i))


@pytest.mark.parametrize("dtype", DTYPES, ids=TYPES)
def test_copy_keeps_both(client: Client, dtype: type[np.generic]) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    client.put_tensor("t", array)
    for i in range(6):  # in a cluster some of these live on another shard
        client.copy_tensor("t", f"copy_{i}")
        np.testing.assert_array_equal(client.get_tensor(f"copy_{i}"), array)
    np.testing.assert_array_equal(client.get_tensor("t"), array)


def test_rename_moves(client: Client) -> None:
    array = np.arange(7.0)
    client.put_tensor("t", array)
    old = "t"
    for i in range(6):
        client.rename_tensor(old, f"name_{i}")
        assert not client.tensor_exists(old)
        old = f"name_{i}"
    np.testing.assert_array_equal(client.get_tensor(old), array)


def test_delete_and_exists(client: Client) -> None:
    client.put_tensor("t", np.ones(1))
    assert client.tensor_exists("t")
    assert client.key_exists("t")
    client.delete_tensor("t")
    assert not client.tensor_exists("t")
    assert not client.key_exists("t")


def test_poll(client: Client) -> None:
    client.put_tensor("t", np.ones(1))
    assert client.poll_tensor("t", 1, 1)
    assert client.poll_key("t", 1, 1)
    assert not client.poll_tensor("nothing", 1, 2)
    assert not client.poll_key("nothing", 1, 2)


def test_a_tensor_of_a_plain_program_and_of_smartredis_are_the_same(client: Client, deployment: Any) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    client.put_tensor("t", array)
    (holder,) = [c for c in deployment.connections if b"t" in c.scan_iter()]
    reply = holder.execute_command("AI.TENSORGET", "t", "META", "BLOB")
    assert reply == [b"dtype", b"FLOAT", b"shape", [2, 3], b"blob", array.tobytes()]
