"""How a database is, told by its servers: in Python and on the command line."""

from __future__ import annotations

import json
import os
import signal

import pytest

from orchestrator import Experiment, Orchestrator
from orchestrator.cluster import SLOTS, key_within
from orchestrator.shard import Shard
from tests.integration.orchestrator.command import penstock

LARGE = "x" * (8 << 20)


def test_one_shard_has_keys_and_no_slots(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=(), redis_server=redis_server))
        with Shard(db.nodes[0].endpoint) as shard:
            shard.command("SET", "large", LARGE)
        status = db.status()
        (node,) = status.nodes
        assert (node.name, node.role, node.slots, node.keys) == ("database_0", "primary", 0, 1)
        assert node.lag_bytes is None and status.memory_bytes > len(LARGE)
        assert status.keys == 1 and status.problems == ()


def test_replicas_are_told_from_primaries_and_how_far_they_are_behind(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, replicas=1, module=(), redis_server=redis_server))
        with Shard(db.nodes[1].endpoint) as shard:
            shard.command("SET", key_within(db.nodes[1].slots or range(0), "k"), "v")
            assert shard.command("WAIT", 1, 30_000) == 1
        status = db.status()
        assert [node.role for node in status.nodes] == ["primary"] * 2 + ["replica"] * 2
        assert [node.shard for node in status.nodes] == [0, 1, 0, 1]
        assert [node.keys for node in status.nodes] == [0, 1, 0, 1] and status.keys == 1
        assert [node.slots for node in status.nodes] == [SLOTS // 2, SLOTS // 2, 0, 0]
        assert [node.lag_bytes for node in status.nodes[:2]] == [None, None]
        assert all(node.lag_bytes is not None and node.lag_bytes >= 0 for node in status.nodes[2:])


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_server_that_does_not_answer_is_told(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.status.PATIENCE_S", 0.2)
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, module=()))
        pid = db.jobs[1].pid
        assert pid is not None
        os.kill(pid, number)
        if number is signal.SIGKILL:
            assert db.jobs[1].wait_ended(30)
        first, second = db.status().nodes
        assert first.role == "primary" and second.role is None
        assert db.status().problems[0].startswith("database_1: does not answer")
        db.stop(timeout_s=0.1)
        exp._started.databases.clear()  # its end was meant


def test_command_shows_every_server_and_json_the_same() -> None:
    with Experiment("e") as exp:
        exp.start(Orchestrator(shards=2, replicas=1, module=(), identifier="fields"))
        exp.start(Orchestrator(module=(), identifier="weights"))
        shown = penstock("db", "--status").stdout
        for text in ("database_fields_0", "database_fields_3", "replica", "primary", "8192"):
            assert text in shown
        status = json.loads(penstock("db", "--status", "--json", "--database", "fields").stdout)
        assert [node["role"] for node in status["nodes"]] == ["primary"] * 2 + ["replica"] * 2
        assert status["identifier"] == "fields" and status["memory_bytes"] > 0
        other = json.loads(penstock("db", "--status", "--json", "--database", "weights").stdout)
        assert [node["name"] for node in other["nodes"]] == ["database_weights_0"]
        assert penstock("db", "--database", "weights", "-c", "DBSIZE").stdout == "0\n"


def test_command_names_the_databases_there_are() -> None:
    with Experiment("e") as exp:
        none = penstock("db", "--status")
        assert none.returncode == 1 and "has no database" in none.stderr
        exp.start(Orchestrator(module=(), identifier="fields"))
        wrong = penstock("db", "--database", "filds", "-c", "PING")
        assert wrong.returncode == 1 and "no database 'filds'; it has: fields" in wrong.stderr
        assert penstock("db", "--json").returncode == 2
