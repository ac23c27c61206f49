"""Models through SmartRedis: from memory and from file, run, replaced, fetched and deleted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from smartredis import Client
from smartredis.error import RedisReplyError

from tests.integration.ai_commands import TYPES
from tests.integration.torchscript import adder, constant, forward, heavy, identity, sum_and_difference


def test_a_model_answers(client: Client) -> None:
    client.set_model("m", adder(), "TORCH", "CPU")
    a, b = np.random.default_rng(5).standard_normal((2, 3, 4)).astype(np.float32)
    client.put_tensor("a", a)
    client.put_tensor("b", b)
    client.run_model("m", ["a", "b"], ["c"])
    np.testing.assert_array_equal(client.get_tensor("c"), a + b)


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_every_dtype_passes_through(client: Client, dtype: type[np.generic]) -> None:
    client.set_model("m", identity(), "TORCH")
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    client.put_tensor("x", x)
    client.run_model("m", "x", "y")
    back = client.get_tensor("y")
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, x)


def test_inputs_and_outputs_on_many_shards(client: Client) -> None:
    """In a cluster these names hash to every shard; the client carries the tensors."""
    client.set_model("m", sum_and_difference(), "TORCH")
    for i in range(12):
        client.put_tensor(f"a{i}", np.full(3, float(i)))
        client.put_tensor(f"b{i}", np.full(3, 1.0))
        client.run_model("m", [f"a{i}", f"b{i}"], [f"sum{i}", f"difference{i}"])
    for i in range(12):
        np.testing.assert_array_equal(client.get_tensor(f"sum{i}"), np.full(3, i + 1.0))
        np.testing.assert_array_equal(client.get_tensor(f"difference{i}"), np.full(3, i - 1.0))


def test_a_large_run_is_whole(client: Client) -> None:
    client.set_model("m", forward("return x * 2"), "TORCH")
    x = np.random.default_rng(6).standard_normal(1 << 19)
    client.put_tensor("x", x)
    client.run_model("m", "x", "y")
    np.testing.assert_array_equal(client.get_tensor("y"), x * 2)


def test_a_scalar_output_has_shape_one(client: Client) -> None:
    client.set_model("m", forward("return x.sum()"), "TORCH")
    client.put_tensor("x", np.ones(9, np.float32))
    client.run_model("m", "x", "y")
    assert client.get_tensor("y").tolist() == [9.0]


def test_a_model_from_a_file(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "network.pt"
    file.write_bytes(constant(4.0))
    client.set_model_from_file("m", str(file), "TORCH", "CPU", tag="v1")
    client.put_tensor("x", np.ones(2, np.float32))
    client.run_model("m", "x", "y")
    np.testing.assert_array_equal(client.get_tensor("y"), [4.0, 4.0])


def test_a_file_that_is_not_there_is_an_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.set_model_from_file("m", str(tmp_path / "missing.pt"), "TORCH")


def test_a_fetched_model_is_the_stored_one(client: Client) -> None:
    client.set_model("m", adder(), "TORCH", "CPU", 4, 2, 10, "tagged")
    assert client.get_model("m") == adder()


def test_a_model_of_many_megabytes(client: Client) -> None:
    client.set_model("m", heavy(20), "TORCH")
    client.put_tensor("x", np.zeros(1, np.float32))
    client.run_model("m", "x", "y")
    assert client.get_tensor("y").tolist() == [1.0]


def test_a_model_sent_in_chunks(client: Client) -> None:
    """The client itself cuts the model when the database says a smaller chunk size."""
    client.set_model_chunk_size(500_000)
    try:
        client.set_model("m", heavy(2), "TORCH")
        client.put_tensor("x", np.zeros(1, np.float32))
        client.run_model("m", "x", "y")
        assert client.get_tensor("y").tolist() == [1.0]
    finally:
        client.set_model_chunk_size(535_822_336)


def test_a_replaced_model_answers_next(client: Client) -> None:
    client.put_tensor("x", np.ones(2, np.float32))
    for version in range(8):
        client.set_model("m", constant(float(version)), "TORCH")
        client.run_model("m", "x", "y")
        np.testing.assert_array_equal(client.get_tensor("y"), [version, version])


def test_exists_poll_delete(client: Client) -> None:
    assert not client.model_exists("m")
    assert not client.poll_model("m", 1, 2)
    client.set_model("m", adder(), "TORCH")
    assert client.model_exists("m")
    assert client.poll_model("m", 1, 1)
    client.delete_model("m")
    assert not client.model_exists("m")


def test_errors_raise(client: Client) -> None:
    client.put_tensor("x", np.ones(2, np.float32))
    with pytest.raises(RedisReplyError):
        client.set_model("m", b"garbage", "TORCH")
    assert not client.model_exists("m")
    with pytest.raises(RedisReplyError):
        client.run_model("m", "x", "y")
    with pytest.raises(RedisReplyError):
        client.get_model("m")
    with pytest.raises(ValueError, match="only valid for TF"):
        client.set_model("m", adder(), "TORCH", inputs=["a"], outputs=["b"])
    client.set_model("m", adder(), "TORCH")
    with pytest.raises(RedisReplyError):
        client.run_model("m", ["x"], ["y"])
    with pytest.raises(RedisReplyError):
        client.run_model("m", ["x", "missing"], ["y"])
    assert not client.tensor_exists("y")


def test_several_gpus(client: Client) -> None:
    """With a GPU the model answers; without one the refusal is an error, not a crash or a run elsewhere."""
    x = np.arange(4, dtype=np.float32)
    client.put_tensor("x", x)
    if torch.cuda.is_available():
        client.set_model_multigpu("m", forward("return x + 1"), "TORCH", 0, 1)
        client.run_model_multigpu("m", 0, 0, 1, "x", "y")
        np.testing.assert_array_equal(client.get_tensor("y"), x + 1)
        client.delete_model_multigpu("m", 0, 1)
    else:
        with pytest.raises(RedisReplyError):
            client.set_model_multigpu("m", forward("return x + 1"), "TORCH", 0, 2)
    assert not client.model_exists("m")
