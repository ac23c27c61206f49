"""The database with Penstock's own module: what a user gets by default."""

from __future__ import annotations

import os
import sys

import pytest

from orchestrator import Application, Experiment, ModelRuntime, Orchestrator, RedisConfig, Resources, colocate
from orchestrator.cluster import key_within, slot_ranges
from orchestrator.errors import DatabaseFailed
from orchestrator.shard import Shard

ROUND_TRIP = """
import numpy, smartredis
client = smartredis.Client(None, logger_name="test")
field = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
client.put_tensor("field", field)
assert (client.get_tensor("field") == field).all()
print("same")
"""


@pytest.mark.parametrize("shards", [1, 2])
def test_ready_database_keeps_tensors_on_each_shard(redis_server: str, shards: int) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=shards, redis_server=redis_server))
        for endpoint, slots in zip(db.endpoints, slot_ranges(shards), strict=True):
            with Shard(endpoint) as shard:
                key = key_within(slots, "t")
                assert not shard.has_stored(key, tensor=True)
                shard.store(key, tensor=True)
                assert shard.has_stored(key, tensor=True)
                shard.remove(key)
                assert shard.command("DBSIZE") == 0


@pytest.mark.parametrize("shards", [1, 2])
def test_smartredis_program_finds_it_by_its_environment(redis_server: str, shards: int) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=shards, redis_server=redis_server))
        job = exp.start(Application("solver", [sys.executable, "-c", ROUND_TRIP]), database=db)
        exp.wait(job, timeout_s=60)
    assert "same" in job.log.read_text()


def test_colocated_smartredis_program(redis_server: str) -> None:
    with Experiment("e") as exp:
        app = Application("solver", [sys.executable, "-c", ROUND_TRIP])
        exp.wait(exp.start(colocate(app, redis_server=redis_server)), timeout_s=60)


def test_colocated_database_runs_models_as_it_is_told() -> None:
    program = (
        "import os, redis; db = redis.Redis(unix_socket_path=os.environ['SSDB'].removeprefix('unix://'))"
    )
    program += "; print(db.execute_command('INFO', 'MODULES'))"
    app = Application("solver", [sys.executable, "-c", program])
    with Experiment("e") as exp:
        job = exp.start(colocate(app, models=ModelRuntime(run_timeout_ms=1234)))
        exp.wait(job, timeout_s=60)
    assert "1234" in job.log.read_text()


def test_shards_are_bound_to_cores_where_asked() -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(resources=Resources(cores=1)))
        job = db.jobs[0]
        assert os.sched_getaffinity(job.pid) == set(job.placement.cores)


def test_memory_limit_reaches_the_server() -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(config=RedisConfig(maxmemory_bytes=50_000_000)))
        with Shard(db.endpoints[0]) as shard:
            assert shard.command("CONFIG GET", "maxmemory") == [b"maxmemory", b"50000000"]


def test_module_argument_it_does_not_know_fails_with_its_words(redis_server: str) -> None:
    module = Orchestrator().load_arguments()
    with Experiment("e") as exp, pytest.raises(DatabaseFailed, match="NONSENSE"):
        exp.start(Orchestrator(redis_server=redis_server, module=(*module, "NONSENSE", "1")))
