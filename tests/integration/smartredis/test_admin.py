"""The calls of SmartRedis that look at the database itself, its prefixes, options and log."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from smartredis import Client, ConfigOptions, Dataset, LLInfo, LogContext, log_data, log_error, log_warning
from smartredis.error import RedisReplyError

from tests.integration.smartredis.conftest import Deployment
from tests.integration.torchscript import adder, constant

Connect = Callable[..., Client]
PREFIXES = {"SSKEYIN": "one,two", "SSKEYOUT": "one"}


def test_model_statistics(client: Client, deployment: Deployment) -> None:
    client.set_model("m", adder(), "TORCH", "CPU", tag="v3")
    for i in range(6):
        client.put_tensor(f"a{i}", np.ones((2, 3)))
        client.run_model("m", [f"a{i}", f"a{i}"], [f"b{i}"])
    facts = client.get_ai_info(deployment.shard_addresses, "m")
    assert len(facts) == len(deployment.shards)
    for shard in facts:
        assert shard["type"] == "MODEL"
        assert shard["backend"] == "TORCH"
        assert shard["device"] == "CPU"
        assert shard["tag"] == "v3"
        assert int(shard["errors"]) == 0
    assert sum(int(shard["calls"]) for shard in facts) == 6


def test_script_statistics(client: Client, deployment: Deployment) -> None:
    client.set_script("s", "def double(a):\n    return a * 2\n")
    client.put_tensor("a", np.ones(3))
    client.run_script("s", "double", "a", "b")
    facts = client.get_ai_info(deployment.shard_addresses, "s")
    assert {shard["type"] for shard in facts} == {"SCRIPT"}
    assert {int(shard["samples"]) for shard in facts} == {-1}
    assert sum(int(shard["calls"]) for shard in facts) == 1


def test_statistics_of_what_is_not_there_are_an_error(client: Client, deployment: Deployment) -> None:
    with pytest.raises(RedisReplyError):
        client.get_ai_info(deployment.shard_addresses, "nothing")


def test_server_facts(client: Client, deployment: Deployment) -> None:
    for facts in client.get_db_node_info(deployment.shard_addresses):
        assert facts["Server"]["redis_mode"] == ("cluster" if deployment.address.clustered else "standalone")
        assert any("ai" in str(value) for value in facts["Modules"].items())


def test_cluster_facts(client: Client, deployment: Deployment) -> None:
    if deployment.address.clustered:
        for facts in client.get_db_cluster_info(deployment.shard_addresses):
            assert facts["cluster_state"] == "ok"
            assert facts["cluster_size"] == "3" or facts["cluster_size"] == 3
    else:
        with pytest.raises(RedisReplyError):
            client.get_db_cluster_info(deployment.shard_addresses)


def test_server_options(client: Client, deployment: Deployment) -> None:
    for address in deployment.shard_addresses:
        before = client.config_get("lua-time-limit", address)["lua-time-limit"]
        client.config_set("lua-time-limit", "4321", address)
        assert client.config_get("lua-time-limit", address) == {"lua-time-limit": "4321"}
        client.config_set("lua-time-limit", before, address)
        with pytest.raises(RedisReplyError):
            client.config_set("no-such-option", "1", address)


def test_save_writes_a_file(client: Client, deployment: Deployment) -> None:
    client.put_tensor("t", np.ones(3))
    client.set_model("m", adder(), "TORCH")
    client.set_script("s", "def double(a):\n    return a * 2\n")
    client.save(deployment.shard_addresses)
    for shard in deployment.shards:
        assert (shard.config.directory / "dump.rdb").stat().st_size > 1000


def test_flush(client: Client, deployment: Deployment) -> None:
    client.put_tensor("t", np.ones(3))
    client.set_model("m", adder(), "TORCH")
    client.flush_db(deployment.shard_addresses)
    assert not client.tensor_exists("t")
    assert deployment.keys() == set()


def test_ensemble_members_have_their_own_tensors(connect: Connect, deployment: Deployment) -> None:
    one = connect(SSKEYIN="one,two", SSKEYOUT="one")
    two = connect(SSKEYIN="one,two", SSKEYOUT="two")
    one.put_tensor("u", np.full(2, 1.0))
    two.put_tensor("u", np.full(2, 2.0))
    assert deployment.keys() == {"one.u", "two.u"}
    one.set_data_source("two")
    np.testing.assert_array_equal(one.get_tensor("u"), [2.0, 2.0])
    one.set_data_source("one")
    np.testing.assert_array_equal(one.get_tensor("u"), [1.0, 1.0])


def test_ensemble_members_have_their_own_datasets_and_lists(connect: Connect, deployment: Deployment) -> None:
    one = connect(**PREFIXES)
    one.use_list_ensemble_prefix(True)
    one.set_data_source("one")
    data = Dataset("snapshot")
    data.add_tensor("u", np.arange(3.0))
    one.put_dataset(data)
    one.append_to_list("run", data)
    assert one.get_list_length("run") == 1
    np.testing.assert_array_equal(one.get_datasets_from_list("run")[0].get_tensor("u"), np.arange(3.0))
    plain = connect()
    assert plain.get_list_length("run") == 0
    assert not plain.dataset_exists("snapshot")
    assert deployment.keys() == {"one.run", "one.{snapshot}.meta", "one.{snapshot}.u"}


def test_prefixed_models_run(connect: Connect) -> None:
    one = connect(**PREFIXES)
    one.use_model_ensemble_prefix(True)
    one.use_tensor_ensemble_prefix(True)
    one.set_data_source("one")
    one.set_model("m", constant(7.0), "TORCH")
    one.put_tensor("x", np.ones(2, np.float32))
    one.run_model("m", "x", "y")
    np.testing.assert_array_equal(one.get_tensor("y"), [7.0, 7.0])
    assert one.model_exists("m")
    plain = connect()
    assert not plain.model_exists("m")
    assert plain.model_exists("one.m")


def test_prefixes_can_be_switched_off(connect: Connect, deployment: Deployment) -> None:
    one = connect(**PREFIXES)
    one.use_tensor_ensemble_prefix(False)
    one.use_dataset_ensemble_prefix(False)
    one.put_tensor("shared", np.ones(1))
    assert deployment.keys() == {"shared"}


def test_an_unknown_data_source_is_an_error(connect: Connect) -> None:
    with pytest.raises(RedisReplyError):
        connect(**PREFIXES).set_data_source("three")


def test_options_with_a_suffix(
    connect: Connect, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    for name, value in deployment.address.environment("second").items():
        monkeypatch.setenv(name, value)
    options = ConfigOptions.create_from_environment("second")
    client = Client(options, logger_name="second")
    client.put_tensor("t", np.ones(2))
    np.testing.assert_array_equal(client.get_tensor("t"), np.ones(2))


def test_client_from_an_address(
    connect: Connect, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect()
    monkeypatch.setenv("SSDB", "")  # the constructor overwrites it; restored behind the test
    client = Client(cluster=deployment.address.clustered, address=deployment.shard_addresses[0])
    client.put_tensor("t", np.ones(2))
    assert client.tensor_exists("t")
    assert str(client)


def test_the_log_of_the_client(client: Client, deployment: Deployment) -> None:
    context = LogContext("tests")
    log_data("tests", LLInfo, "data")
    log_warning(str(context), LLInfo, "warning")
    log_error("tests", LLInfo, "error")
    client.put_tensor("t", np.ones(1))
    assert deployment.keys() == {"t"}
