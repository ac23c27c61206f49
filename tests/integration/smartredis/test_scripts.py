"""Scripts and functions through SmartRedis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from smartredis import Client
from smartredis.error import RedisReplyError

SOURCE = """
def add(a, b):
    return a + b

def both(a, b):
    return a + b, a - b
"""


def two_to_one(x: Any, y: Any) -> Any:
    """What a user stores from a program: its source is sent, types and all."""
    return x + y


def smallest_and_largest(x):
    return torch.min(x), torch.max(x)


@pytest.fixture(autouse=True)
def inputs(client: Client) -> None:
    client.put_tensor("a", np.array([[1.0, 2.0], [3.0, 4.0]]))
    client.put_tensor("b", np.array([[10.0, 20.0], [30.0, 40.0]]))


def test_a_script_runs(client: Client) -> None:
    client.set_script("s", SOURCE, "CPU")
    client.run_script("s", "add", ["a", "b"], ["c"])
    np.testing.assert_array_equal(client.get_tensor("c"), [[11, 22], [33, 44]])


def test_a_script_with_two_outputs(client: Client) -> None:
    client.set_script("s", SOURCE)
    client.run_script("s", "both", ["a", "b"], ["c", "d"])
    np.testing.assert_array_equal(client.get_tensor("c"), [[11, 22], [33, 44]])
    np.testing.assert_array_equal(client.get_tensor("d"), [[-9, -18], [-27, -36]])


def test_a_script_over_many_shards(client: Client) -> None:
    client.set_script("s", SOURCE)
    for i in range(12):
        client.put_tensor(f"x{i}", np.full(2, float(i)))
        client.run_script("s", "add", [f"x{i}", f"x{i}"], [f"y{i}"])
    for i in range(12):
        np.testing.assert_array_equal(client.get_tensor(f"y{i}"), np.full(2, 2.0 * i))


def test_a_function_runs(client: Client) -> None:
    client.set_function("f", smallest_and_largest)
    client.run_script("f", "smallest_and_largest", "a", ["low", "high"])
    assert client.get_tensor("low").tolist() == [1.0]
    assert client.get_tensor("high").tolist() == [4.0]


def test_what_is_no_function_is_refused(client: Client) -> None:
    with pytest.raises(TypeError):
        client.set_function("f", "text")


def test_a_function_torchscript_cannot_compile_is_an_error(client: Client) -> None:
    """TorchScript knows no type Any for an addition."""
    with pytest.raises(RedisReplyError):
        client.set_function("f", two_to_one)
    assert not client.key_exists("f")


def test_a_script_from_a_file(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "script.txt"
    file.write_text(SOURCE)
    client.set_script_from_file("s", str(file), "CPU")
    client.run_script("s", "add", ["a", "b"], ["c"])
    np.testing.assert_array_equal(client.get_tensor("c"), [[11, 22], [33, 44]])


def test_a_fetched_script_is_the_stored_one(client: Client) -> None:
    client.set_script("s", SOURCE)
    assert client.get_script("s") == SOURCE


def test_delete(client: Client) -> None:
    client.set_script("s", SOURCE)
    assert client.model_exists("s")
    client.delete_script("s")
    assert not client.model_exists("s")
    with pytest.raises(RedisReplyError):
        client.get_script("s")


def test_errors_raise(client: Client) -> None:
    with pytest.raises(RedisReplyError):
        client.set_script("s", "def broken(:\n    return\n")
    with pytest.raises(RedisReplyError):
        client.run_script("s", "add", ["a", "b"], ["c"])
    client.set_script("s", SOURCE)
    with pytest.raises(RedisReplyError):
        client.run_script("s", "no_such_function", ["a", "b"], ["c"])
    with pytest.raises(RedisReplyError):
        client.run_script("s", "add", ["a", "missing"], ["c"])
    with pytest.raises(RedisReplyError):
        client.run_script("s", "add", ["a"], ["c"])
    assert not client.tensor_exists("c")


def test_several_gpus(client: Client) -> None:
    if torch.cuda.is_available():
        client.set_script_multigpu("s", SOURCE, 0, 1)
        client.run_script_multigpu("s", "add", ["a", "b"], ["c"], 0, 0, 1)
        np.testing.assert_array_equal(client.get_tensor("c"), [[11, 22], [33, 44]])
        client.delete_script_multigpu("s", 0, 1)
    else:
        client.set_script("s", SOURCE)
        with pytest.raises(RedisReplyError):
            client.run_script_multigpu("s", "add", ["a", "b"], ["c"], 0, 0, 2)
        assert not client.tensor_exists("c")
