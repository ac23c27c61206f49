"""Datasets and aggregation lists through SmartRedis."""

from __future__ import annotations

import numpy as np
import pytest
from smartredis import Client, Dataset
from smartredis.error import RedisReplyError

from tests.integration.ai_commands import TYPES


def dataset(name: str, value: float = 1.0) -> Dataset:
    data = Dataset(name)
    for i, dtype in enumerate(TYPES.values()):
        data.add_tensor(f"field_{i}", np.full((2, i + 1), value).astype(dtype))
    data.add_meta_scalar("time", value / 8)
    data.add_meta_scalar("step", int(value))
    data.add_meta_scalar("step", int(value) + 1)
    data.add_meta_string("solver", "heat")
    data.add_meta_string("solver", "spectral")
    return data


def check(data: Dataset, value: float = 1.0) -> None:
    assert sorted(data.get_tensor_names()) == sorted(f"field_{i}" for i in range(len(TYPES)))
    for i, dtype in enumerate(TYPES.values()):
        field = data.get_tensor(f"field_{i}")
        assert field.dtype == dtype
        np.testing.assert_array_equal(field, np.full((2, i + 1), value).astype(dtype))
    np.testing.assert_array_equal(data.get_meta_scalars("time"), [value / 8])
    np.testing.assert_array_equal(data.get_meta_scalars("step"), [int(value), int(value) + 1])
    assert data.get_meta_strings("solver") == ["heat", "spectral"]


def test_a_dataset_comes_back_whole(client: Client) -> None:
    client.put_dataset(dataset("snapshot"))
    back = client.get_dataset("snapshot")
    assert back.get_name() == "snapshot"
    check(back)


def test_a_dataset_put_again_has_the_new_values(client: Client) -> None:
    client.put_dataset(dataset("snapshot", 1.0))
    client.put_dataset(dataset("snapshot", 5.0))
    check(client.get_dataset("snapshot"), 5.0)


def test_a_dataset_with_large_fields(client: Client) -> None:
    rng = np.random.default_rng(4)
    fields = {name: rng.standard_normal((256, 1024)) for name in "uvwp"}
    data = Dataset("large")
    for name, field in fields.items():
        data.add_tensor(name, field)
    client.put_dataset(data)
    back = client.get_dataset("large")
    for name, field in fields.items():
        np.testing.assert_array_equal(back.get_tensor(name), field)


def test_missing_dataset_is_an_error(client: Client) -> None:
    with pytest.raises(RedisReplyError):
        client.get_dataset("nothing")


def test_copy_rename_delete(client: Client) -> None:
    client.put_dataset(dataset("one", 3.0))
    client.copy_dataset("one", "two")
    check(client.get_dataset("two"), 3.0)
    client.rename_dataset("two", "three")
    assert not client.dataset_exists("two")
    check(client.get_dataset("three"), 3.0)
    client.delete_dataset("one")
    assert not client.dataset_exists("one")
    assert client.dataset_exists("three")


def test_exists_and_poll(client: Client) -> None:
    assert not client.dataset_exists("one")
    assert not client.poll_dataset("one", 1, 2)
    client.put_dataset(dataset("one"))
    assert client.dataset_exists("one")
    assert client.poll_dataset("one", 1, 1)


def test_a_list_keeps_order_and_values(client: Client) -> None:
    for i in range(5):
        data = dataset(f"snapshot_{i}", float(i))
        client.put_dataset(data)
        client.append_to_list("run", data)
    assert client.get_list_length("run") == 5
    for i, data in enumerate(client.get_datasets_from_list("run")):
        assert data.get_name() == f"snapshot_{i}"
        check(data, float(i))
    names = [data.get_name() for data in client.get_dataset_list_range("run", 1, 3)]
    assert names == ["snapshot_1", "snapshot_2", "snapshot_3"]
    names = [data.get_name() for data in client.get_dataset_list_range("run", -2, -1)]
    assert names == ["snapshot_3", "snapshot_4"]


def test_list_copy_rename_delete(client: Client) -> None:
    for i in range(3):
        data = dataset(f"snapshot_{i}", float(i))
        client.put_dataset(data)
        client.append_to_list("run", data)
    client.copy_list("run", "copied")
    client.rename_list("run", "renamed")
    assert client.get_list_length("run") == 0
    assert client.get_list_length("copied") == 3
    assert [d.get_name() for d in client.get_datasets_from_list("renamed")] == [
        f"snapshot_{i}" for i in range(3)
    ]
    client.delete_list("copied")
    assert client.get_list_length("copied") == 0


def test_poll_of_list_lengths(client: Client) -> None:
    data = dataset("snapshot")
    client.put_dataset(data)
    client.append_to_list("run", data)
    client.append_to_list("run", data)
    assert client.poll_list_length("run", 2, 1, 1)
    assert client.poll_list_length_gte("run", 1, 1, 1)
    assert client.poll_list_length_lte("run", 2, 1, 1)
    assert not client.poll_list_length("run", 3, 1, 2)
    assert not client.poll_list_length_gte("run", 3, 1, 2)
    assert not client.poll_list_length_lte("run", 1, 1, 2)
