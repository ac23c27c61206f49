"""Start and stop: an Experiment's database against bare redis-server, a cluster against Redis's own time.

And databases beside a program on ten hosts, against a step of the scheduler that does nothing there.

Each operation times itself, from the first line to the first stored value; clearing away is not counted.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestrator import Experiment, Orchestrator
from orchestrator.build import built_module
from tests.bench.hosts import ten_hosts
from tests.bench.measure import Series, compare
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerConfig,
    ShardCluster,
    shard_configs,
    system_binary,
    wheel_binary,
)

BINARY = system_binary() or wheel_binary()
SHARDS = 3


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def _bare_start(modules: tuple[Module, ...] = ()) -> float:
    with _directory() as directory:
        server = RedisServer(ServerConfig(BINARY, directory, modules))
        start = time.perf_counter()
        with server:
            with server.connect() as connection:
                connection.set("x", b"1")
            return time.perf_counter() - start


def _experiment_start(shards: int, replicas: int = 0) -> float:
    with _directory() as directory:
        start = time.perf_counter()
        with Experiment("bench", run_dir=directory / "run") as exp:
            exp.start(
                Orchestrator(shards=shards, replicas=replicas)
            )  # ready means that a tensor was stored in every shard
            return time.perf_counter() - start


def _bare_cluster() -> float:
    with _directory() as directory:
        cluster = ShardCluster(shard_configs(BINARY, directory, (), SHARDS))
        start = time.perf_counter()
        with cluster:
            return time.perf_counter() - start


def _bare_stop() -> float:
    with _directory() as directory, RedisServer(ServerConfig(BINARY, directory)) as server:
        start = time.perf_counter()
        server.shutdown("NOSAVE")
        return time.perf_counter() - start


def _experiment_stop(shards: int) -> float:
    with _directory() as directory, Experiment("bench", run_dir=directory / "run") as exp:
        database = exp.start(Orchestrator(shards=shards))
        start = time.perf_counter()
        database.stop()
        return time.perf_counter() - start


def _timed(name: str, operation: Callable[[], float]) -> Series:
    return Series(name, operation, self_timed=True)


def run(quick: bool) -> dict[str, Any]:
    """Measure the start of one shard, of three and on ten hosts, and the stop."""
    build = built_module(print)
    module = Module(build.module, tuple(build.load_arguments()))
    rounds = 3 if quick else 9
    return {
        "one shard": compare(
            _timed("bare redis-server", _bare_start),
            [
                _timed("redis-server with the module", lambda: _bare_start((module,))),
                _timed("Experiment", lambda: _experiment_start(1)),
            ],
            rounds=rounds,
        ),
        "three shards": compare(
            _timed("bare cluster", _bare_cluster),
            [
                _timed("Experiment", lambda: _experiment_start(SHARDS)),
                _timed("Experiment, a replica each", lambda: _experiment_start(SHARDS, replicas=1)),
            ],
            rounds=rounds,
        ),
        "stop": compare(
            _timed("bare redis-server", _bare_stop),
            [
                _timed("Experiment, one shard", lambda: _experiment_stop(1)),
                _timed("Experiment, three shards", lambda: _experiment_stop(SHARDS)),
            ],
            rounds=rounds,
        ),
        "beside a program on ten hosts": ten_hosts(1 if quick else 5),
    }
