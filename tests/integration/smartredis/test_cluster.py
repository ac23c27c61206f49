"""What a cluster adds: a run needs its keys in one slot, and every shard serves its own."""

from __future__ import annotations

import numpy as np
import pytest
import redis
from smartredis import Client

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.smartredis.conftest import Deployment
from tests.integration.torchscript import adder

pytestmark = pytest.mark.parametrize("deployment", ["cluster"], indirect=True)


def owner(deployment: Deployment, key: str) -> redis.Redis:
    """Return the connection to the shard that serves a key."""
    for connection in deployment.connections:
        try:
            connection.exists(key)
        except redis.exceptions.MovedError:
            continue
        return connection
    raise AssertionError(f"no shard serves {key}")


@pytest.mark.parametrize("tag", ["{1}", "{b}", "{seven}", "{u}"])
@pytest.mark.usefixtures("client")
def test_a_run_with_one_tag_needs_no_other_shard(deployment: Deployment, tag: str) -> None:
    """What our own client does: no tensor crosses a shard."""
    db = owner(deployment, tag)
    store_model(db, f"m{tag}", adder())
    put(db, f"a{tag}", np.arange(3.0))
    execute(db, f"m{tag}", [f"a{tag}", f"a{tag}"], [f"b{tag}"])
    np.testing.assert_array_equal(get(db, f"b{tag}"), 2 * np.arange(3.0))


@pytest.mark.usefixtures("client")
def test_keys_of_several_slots_are_refused(deployment: Deployment) -> None:
    db = owner(deployment, "m{1}")
    store_model(db, "m{1}", adder())
    put(db, "a{1}", np.ones(2))
    with pytest.raises(redis.exceptions.ClusterCrossSlotError, match="don't hash to the same slot"):
        execute(db, "m{1}", ["a{1}", "b"], ["c{1}"])


@pytest.mark.usefixtures("client")
def test_keys_of_another_shard_are_sent_there(deployment: Deployment) -> None:
    right = owner(deployment, "m{1}")
    (wrong, *_) = [c for c in deployment.connections if c is not right]
    with pytest.raises(redis.exceptions.MovedError):
        execute(wrong, "m{1}", ["a{1}"], ["c{1}"])
    with pytest.raises(redis.exceptions.MovedError):
        wrong.execute_command("AI.TENSORSET", "a{1}", "FLOAT", 1)


def test_a_model_is_on_every_shard_and_deleted_from_every_shard(
    client: Client, deployment: Deployment
) -> None:
    client.set_model("m", adder(), "TORCH")
    names = deployment.keys()
    assert len(names) == len(deployment.shards)
    assert all(name.startswith("{") and name.endswith("}.m") for name in names)
    client.delete_model("m")
    assert deployment.keys() == set()


def test_a_run_leaves_nothing_but_its_outputs(client: Client, deployment: Deployment) -> None:
    client.put_tensor("a", np.ones(2))
    client.put_tensor("b", np.ones(2))
    client.set_model("m", adder(), "TORCH")
    before = deployment.keys()
    client.run_model("m", ["a", "b"], ["c"])
    assert deployment.keys() - before == {"c"}
