"""Three shards with a replica each: commands on each shard, runs while a replica takes over."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from orchestrator.cluster import key_slot, slot_ranges
from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.module.long_runs import run_all
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ShardCluster,
    shard_configs,
    wait_in_step,
    wait_until,
)
from tests.integration.torchscript import adder, constant

SHARDS = 3
CLIENTS = 8
SCRIPT = "def double(a):\n    return a * 2\n"
PASSING = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)
"""What a client is told while a replica takes over; it asks again, at whoever has the slot now."""


@pytest.fixture(scope="module")
def cluster(server_binary: ServerBinary, module: Module, short_directory: Path) -> Iterator[ShardCluster]:
    directory = short_directory / f"replicated-{server_binary.name}"
    options = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"}
    configs = shard_configs(server_binary, directory, (module,), 2 * SHARDS, options)
    with ShardCluster(configs[:SHARDS], configs[SHARDS:]) as running:
        yield running
    shutil.rmtree(directory)


def tag_of(shard: int) -> str:
    """Return a hash tag whose slot that shard serves."""
    slots = slot_ranges(SHARDS)[shard]
    return next(tag for i in range(100_000) if key_slot(tag := f"{{{i}}}") in slots)


@pytest.fixture(params=range(SHARDS), ids="shard{}".format)
def shard(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def master_of(cluster: ShardCluster, shard: int) -> tuple[RedisServer, RedisServer]:
    """Return who has the shard's slots now, and who copies it."""
    pair = cluster.shards[shard], cluster.replicas[shard]
    with pair[0].connect() as first:
        leads = first.info("replication")["role"] == "master"
    return pair if leads else (pair[1], pair[0])


def test_commands_work_on_each_shard_and_reach_its_replica(cluster: ShardCluster, shard: int) -> None:
    tag = tag_of(shard)
    master, replica = (server.connect() for server in master_of(cluster, shard))
    a, b, out, twice, m, s = (f"{name}{tag}" for name in ("a", "b", "out", "twice", "m", "s"))
    put(master, a, np.ones(3, np.float32))
    put(master, b, np.full(3, 4, np.float32))
    store_model(master, m, adder(), "TAG", "v1")
    master.execute_command("AI.SCRIPTSET", s, "CPU", "SOURCE", SCRIPT)
    execute(master, m, [a, b], [out])
    master.execute_command("AI.SCRIPTRUN", s, "double", "INPUTS", out, "OUTPUTS", twice)
    reply = master.execute_command(
        *("AI.DAGEXECUTE", "ROUTING", tag, "|>", "AI.TENSORSET", "x", "FLOAT", 1, "VALUES", 3, "|>"),
        *(
            "AI.MODELEXECUTE",
            m,
            "INPUTS",
            2,
            "x",
            "x",
            "OUTPUTS",
            1,
            "y",
            "|>",
            "AI.TENSORGET",
            "y",
            "VALUES",
        ),
    )
    assert reply[:2] == [b"OK", b"OK"]
    assert [float(value) for value in reply[2]] == [6.0]
    assert info(master, m)["calls"] == 2
    wait_in_step(master, replica)
    replica.execute_command("READONLY")
    np.testing.assert_array_equal(get(replica, twice), np.full(3, 10, np.float32))
    assert replica.execute_command("AI.MODELGET", m, "BLOB") == adder()
    assert replica.execute_command("AI.SCRIPTGET", s, "SOURCE") == SCRIPT.encode()
    master.delete(a, b, out, twice, m, s)


def test_a_key_of_another_shard_is_pointed_to(cluster: ShardCluster) -> None:
    with master_of(cluster, 0)[0].connect() as db:
        there = tag_of(1)
        wanted = f"{key_slot(there)} 127.0.0.1:"  # redis-py takes the word MOVED away
        assert refusal(db, "AI.TENSORSET", f"t{there}", "FLOAT", 1).startswith(wanted)
        words = ("INPUTS", 1, f"x{there}", "OUTPUTS", 1, f"y{there}")
        assert refusal(db, "AI.MODELEXECUTE", f"m{there}", *words).startswith(wanted)


def test_keys_of_two_slots_are_refused(cluster: ShardCluster) -> None:
    with master_of(cluster, 0)[0].connect() as db:
        words = ("INPUTS", 1, f"x{tag_of(1)}", "OUTPUTS", 1, f"y{tag_of(0)}")
        assert "don't hash to the same slot" in refusal(db, "AI.MODELEXECUTE", f"m{tag_of(0)}", *words)


class Caller:
    """Runs one model over and over at whoever has its slot, as a cluster's client does."""

    def __init__(self, cluster: ShardCluster, shard: int, number: int) -> None:
        self.answers = 0
        self._servers = {server.config.port: server for server in cluster.servers}
        self._at = master_of(cluster, shard)[0]
        self._words = (f"m{tag_of(shard)}", f"x{tag_of(shard)}", f"y{number}{tag_of(shard)}")

    def call(self) -> None:
        """Make one run, asking again until it is answered."""
        model, given, out = self._words
        while True:
            with self._at.connect() as db:
                try:
                    execute(db, model, [given], [out])
                    value = set(get(db, out).tolist())
                except redis.exceptions.MovedError as moved:
                    self._at = self._servers[moved.port]
                    continue
                except PASSING:
                    continue
                except redis.ResponseError as error:
                    assert str(error).startswith("UNBLOCKED"), str(error)
                    continue
            assert value == {7.0}
            self.answers += 1
            return


def test_a_replica_takes_over_while_clients_run(cluster: ShardCluster, shard: int) -> None:
    old, new = master_of(cluster, shard)
    tag = tag_of(shard)
    with old.connect() as master, new.connect() as replica:
        store_model(master, f"m{tag}", constant(7.0), "TAG", "kept")
        put(master, f"x{tag}", np.ones(64, np.float32))
        wait_in_step(master, replica)
    callers = [Caller(cluster, shard, number) for number in range(CLIENTS)]
    over = threading.Event()

    def run(caller: Caller) -> None:
        while not over.is_set():
            caller.call()

    def take_over() -> None:
        try:
            wait_until(lambda: all(caller.answers > 3 for caller in callers), "every client to run")
            with new.connect() as replica:
                replica.execute_command("CLUSTER", "FAILOVER")
                wait_until(
                    lambda: replica.info("replication")["role"] == "master", "the replica to take over"
                )
            before = [caller.answers for caller in callers]
            wait_until(
                lambda: all(c.answers > n + 3 for c, n in zip(callers, before, strict=True)),
                "every client to run at the new master",
            )
        finally:
            over.set()

    assert not run_all(take_over, *(lambda c=c: run(c) for c in callers))  # type: ignore[misc]
    with new.connect() as master, old.connect() as replica:
        assert info(master, f"m{tag}")["tag"] == b"kept"
        assert info(master, f"m{tag}")["calls"] > 0
        wait_until(lambda: replica.info("replication")["role"] == "slave", "the old master to follow")
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "it to be in step")
        wait_in_step(master, replica)
        replica.execute_command("READONLY")
        keys = {key for key in master.keys("*") if tag.encode() in key}
        assert keys == {key for key in replica.keys("*") if tag.encode() in key}
        for key in keys - {f"m{tag}".encode()}:
            np.testing.assert_array_equal(get(master, key.decode()), get(replica, key.decode()))
        assert replica.execute_command("AI.MODELGET", f"m{tag}", "BLOB") == constant(7.0)
