"""The multi-GPU calls on a database whose GPUs are the CPU (GPU_ON_CPU): names, devices, routing are real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from smartredis import Client
from smartredis.error import RedisReplyError

from tests.integration.servers import Module, ServerBinary
from tests.integration.smartredis.conftest import Deployment, deploy
from tests.integration.torchscript import forward

GPUS = 2
SCRIPT = "def double(x):\n    return 2 * x\n\ndef both(x):\n    return x + 1, x - 1\n"


@pytest.fixture(scope="module", params=["unix", "cluster"])
def deployment(
    request: pytest.FixtureRequest, server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[Deployment]:
    """A database that takes GPU:0, GPU:1 … for the CPU."""
    directory = short_directory / f"{server_binary.name}-{request.param}-gpus"
    with ExitStack() as stack:
        made = module.with_arguments("GPU_ON_CPU", "yes", "THREADS_PER_QUEUE", "1")
        yield deploy(stack, server_binary, made, directory, request.param)


def triple(x):
    return 3 * x


@pytest.fixture
def x(client: Client) -> np.ndarray:
    """The input, stored."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    client.put_tensor("x", array)
    return array


def devices(client: Client, deployment: Deployment, name: str) -> set[str]:
    """Return where a model or script was stored to run, on all shards."""
    return {facts["device"] for facts in client.get_ai_info(deployment.shard_addresses, name)}


@pytest.mark.parametrize("how", ["memory", "file"])
def test_a_model_on_every_gpu(
    client: Client, deployment: Deployment, x: np.ndarray, tmp_path: Path, how: str
) -> None:
    network = forward("return x + 1")
    if how == "memory":
        client.set_model_multigpu("m", network, "TORCH", 0, GPUS, tag="v1")
    else:
        (tmp_path / "network.pt").write_bytes(network)
        client.set_model_from_file_multigpu("m", str(tmp_path / "network.pt"), "TORCH", 0, GPUS)
    assert devices(client, deployment, "m.GPU:0") == {"GPU:0"}
    assert devices(client, deployment, "m.GPU:1") == {"GPU:1"}
    for offset in range(4):
        client.run_model_multigpu("m", offset, 0, GPUS, ["x"], [f"y{offset}"])
        np.testing.assert_array_equal(client.get_tensor(f"y{offset}"), x + 1)
    for name in ("m.GPU:0", "m.GPU:1"):
        facts = client.get_ai_info(deployment.shard_addresses, name)
        assert sum(int(shard["calls"]) for shard in facts) == 2, "offset modulo number of GPUs chooses"
    client.delete_model_multigpu("m", 0, GPUS)
    assert deployment.keys() == {"x", "y0", "y1", "y2", "y3"}


@pytest.mark.parametrize("how", ["text", "file", "function"])
def test_a_script_on_every_gpu(
    client: Client, deployment: Deployment, x: np.ndarray, tmp_path: Path, how: str
) -> None:
    if how == "text":
        client.set_script_multigpu("s", SCRIPT, 0, GPUS)
    elif how == "file":
        (tmp_path / "script.py").write_text(SCRIPT)
        client.set_script_from_file_multigpu("s", str(tmp_path / "script.py"), 0, GPUS)
    else:
        client.set_function_multigpu("s", triple, 0, GPUS)
    assert devices(client, deployment, "s.GPU:1") == {"GPU:1"}
    name, factor = ("triple", 3) if how == "function" else ("double", 2)
    for offset in range(2):
        client.run_script_multigpu("s", name, ["x"], ["y"], offset, 0, GPUS)
        np.testing.assert_array_equal(client.get_tensor("y"), factor * x)
    if how != "function":
        client.run_script_multigpu("s", "both", ["x"], ["above", "below"], 0, 0, GPUS)
        np.testing.assert_array_equal(client.get_tensor("below"), x - 1)
    client.delete_script_multigpu("s", 0, GPUS)
    assert not client.model_exists("s")


def test_plain_calls_may_name_a_gpu(client: Client, x: np.ndarray) -> None:
    client.set_model("m", forward("return x * 4"), "TORCH", "GPU")
    client.run_model("m", "x", "y")
    np.testing.assert_array_equal(client.get_tensor("y"), 4 * x)


def test_errors_raise(client: Client, x: np.ndarray) -> None:
    with pytest.raises(RedisReplyError):
        client.set_model_multigpu("m", b"garbage", "TORCH", 0, GPUS)
    client.set_model_multigpu("m", forward("return x"), "TORCH", 0, GPUS)
    with pytest.raises(RedisReplyError):
        client.run_model_multigpu("m", 0, 5, 1, ["x"], ["y"])
    with pytest.raises(RedisReplyError):
        client.run_script_multigpu("nothing", "double", ["x"], ["y"], 0, 0, GPUS)
    assert not client.tensor_exists("y")
