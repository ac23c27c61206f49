"""The server under measurement, with networks and their inputs in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from orchestrator.build import built_module
from orchestrator.redis_config import RedisConfig, allocator_options, redis_environment
from tests.bench.inference.networks import Network
from tests.bench.wire import WireClient
from tests.integration.servers import Module, RedisServer, ServerConfig, system_binary, wheel_binary

_ALLOCATOR_OPTIONS = [word.removeprefix("--") for word in allocator_options(RedisConfig())]
OPTIONS = {
    "proto-max-bulk-len": "4gb",
    "client-query-buffer-limit": "4gb",
    **dict(zip(_ALLOCATOR_OPTIONS[0::2], _ALLOCATOR_OPTIONS[1::2], strict=True)),
}
ALLOCATOR = redis_environment(RedisConfig())


@contextmanager
def server(*arguments: str) -> Iterator[RedisServer]:
    """Run one server with the module, as an Experiment would, on a Unix socket.

    `arguments` are further load arguments.
    """
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments())).with_arguments(*arguments)
    binary = system_binary() or wheel_binary()
    with TemporaryDirectory() as directory:
        config = ServerConfig(binary, Path(directory), (module,), OPTIONS, environment=ALLOCATOR)
        with RedisServer(config) as running:
            yield running


def key_of(network: Network, batch: int = 0) -> str:
    """Return the key of a network, with or without BATCHSIZE."""
    return f"{network.name}.batch{batch}" if batch else network.name


def store(wire: WireClient, network: Network, batch: int = 0, backend: str = "TORCH") -> None:
    """Store a network, its input `x.<name>` and run it once; `batch` is its BATCHSIZE."""
    options = ("BATCHSIZE", str(batch)) if batch else ()
    wire.call(
        *_words("AI.MODELSTORE", key_of(network, batch), backend, "CPU", *options, "BLOB"), network.file
    )
    wire.call(*set_input(network))
    wire.call(*_words(*execute(network, batch)))
    check(wire, network, batch)


def set_input(network: Network) -> tuple[bytes, ...]:
    """Return the command that stores the input of a network."""
    x = network.input()
    return (*_words("AI.TENSORSET", f"x.{network.name}", "FLOAT", *map(str, x.shape), "BLOB"), x.tobytes())


def execute(network: Network, batch: int = 0) -> Sequence[str]:
    """Return the command that runs a network on its input, into `y.<key>`."""
    key = key_of(network, batch)
    return ("AI.MODELEXECUTE", key, "INPUTS", "1", f"x.{network.name}", "OUTPUTS", "1", f"y.{key}")


def check(wire: WireClient, network: Network, batch: int = 0) -> None:
    """Compare the network's last answer with what torch makes of the input in this process.

    Raises:
        AssertionError: it is another one.
    """
    blob = wire.call(b"AI.TENSORGET", f"y.{key_of(network, batch)}".encode(), b"BLOB")
    assert isinstance(blob, memoryview)
    found = np.frombuffer(bytes(blob), np.float32).reshape(network.answer().shape)
    np.testing.assert_allclose(found, network.answer(), rtol=1e-4, atol=1e-6)


def run_counts(wire: WireClient, key: str) -> tuple[int, int]:
    """Return how many runs of a model there were, and how many failed."""
    reply = wire.call(b"AI.INFO", key.encode())
    assert isinstance(reply, list)
    texts = [bytes(item) if isinstance(item, memoryview) else item for item in reply]
    facts = dict(zip(texts[0::2], texts[1::2], strict=True))
    return int(facts[b"calls"]), int(facts[b"errors"])


def _words(*words: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in words)
