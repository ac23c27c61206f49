"""Replicas of a cluster's shards, on real redis-servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, JobState, Orchestrator
from orchestrator.cluster import key_within
from orchestrator.errors import StartFailed
from orchestrator.shard import Shard

PROGRAM = """
import numpy as np
from smartredis import Client
client = Client(logger_name="test")
for n in range(50):
    client.put_tensor(f"t{n}", np.full(4, float(n)))
    assert client.get_tensor(f"t{n}")[0] == n
"""


def test_each_replica_follows_the_shard_of_its_slots(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=3, replicas=2, module=(), redis_server=redis_server))
        assert [(node.shard, node.replica) for node in db.nodes] == [
            (shard, replica) for replica in range(3) for shard in range(3)
        ]
        assert len(db.address.endpoints) == 3
        for node in db.nodes[3:]:
            with Shard(node.endpoint) as replica, Shard(db.nodes[node.shard].endpoint) as shard:
                key = key_within(node.slots, "k")
                shard.command("SET", key, "v")
                assert shard.command("WAIT", 2, 30_000) == 2
                replica.serve_reads()
                assert replica.command("GET", key) == b"v"
                assert replica.command("DBSIZE") == 1
    assert all(job.state is JobState.CANCELED and job.returncode == 0 for job in db.jobs)


def test_tensors_reach_replicas_and_smartredis_is_led_to_the_shards(
    redis_server: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, replicas=1, redis_server=redis_server))
        exp.start(Application("solver", [sys.executable, program]), database=db).wait()
        sizes = []
        for node in db.nodes[:2]:
            with Shard(node.endpoint) as shard, Shard(db.nodes[node.shard + 2].endpoint) as replica:
                assert shard.command("WAIT", 1, 30_000) == 1
                sizes.append(shard.command("DBSIZE"))
                assert replica.command("DBSIZE") == sizes[-1]
        assert sum(sizes) == 50 and all(sizes)


def test_a_replica_that_cannot_start_is_the_failure(redis_server: str) -> None:
    with Experiment("e") as exp:
        (exp.run_dir / "database" / "shard_3" / "nodes.conf").mkdir(parents=True)
        with pytest.raises(StartFailed, match="'database_3'"):
            exp.start(Orchestrator(shards=2, replicas=1, module=(), redis_server=redis_server))
