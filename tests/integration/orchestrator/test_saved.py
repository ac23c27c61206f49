"""A database is saved while it runs and comes back in another run: tensors, models, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import redis

from orchestrator import Experiment, Orchestrator, RedisConfig
from orchestrator.cluster import key_within
from orchestrator.errors import DatabaseFailed, SavedError
from orchestrator.shard import Shard
from sim_clients import Client, connect
from tests.integration.module.stored import check_everything, store_everything
from tests.integration.orchestrator.command import penstock
from tests.integration.torchscript import adder


def store(client: Client) -> None:
    for n in range(40):
        client.put_tensor(f"t{n}", np.full(1000, float(n)))
    client.put_snapshot(3, {"u": np.arange(6.0).reshape(2, 3)})
    client.put_model("sum", adder(), 7)


def check(client: Client) -> None:
    for n in range(40):
        assert np.array_equal(client.get_tensor(f"t{n}"), np.full(1000, float(n)))
    assert client.get_snapshot(0).fields["u"].shape == (2, 3)
    assert client.model_version("sum") == 7
    assert client.infer("sum", np.ones(2, np.float32), np.ones(2, np.float32)).tolist() == [2, 2]


@pytest.mark.parametrize(("shards", "replicas"), [(1, 0), (2, 0), (2, 1)])
def test_tensors_and_models_come_back(redis_server: str, tmp_path: Path, shards: int, replicas: int) -> None:
    orchestrator = Orchestrator(shards=shards, replicas=replicas, redis_server=redis_server)
    with Experiment("e") as exp:
        db = exp.start(orchestrator)
        store(connect(db.address, producer="p", rank=0))
        saved = db.snapshot("saved")
        connect(db.address).put_tensor("later", np.zeros(1))
        assert saved.modules["ai"] > 0 and len(saved.shards) == shards
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "saved.json",
        *(f"shard_{n}.rdb" for n in range(shards)),
    }
    assert all(path.stat().st_mode & 0o77 == 0 for path in (tmp_path / "saved").glob("*.rdb"))
    with Experiment("e") as exp:
        again = Orchestrator(
            shards=shards, replicas=replicas, redis_server=redis_server, restore_from="saved"
        )
        db = exp.start(again)
        client = connect(db.address, producer="p", rank=0)
        check(client)
        keys = db.status().keys
        client.put_tensor("more", np.zeros(1))
        db.snapshot("second")
        assert db.status().keys == keys + 1
        if replicas:
            assert [node.keys for node in db.status().nodes[:2]] == [
                node.keys for node in db.status().nodes[2:]
            ]


def test_everything_the_module_stores_comes_back(redis_server: str) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(redis_server=redis_server))
        with redis.Redis(unix_socket_path=str(db.address.unix_socket)) as connection:
            store_everything(connection)
        db.snapshot("saved")
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(redis_server=redis_server, restore_from="saved"))
        with redis.Redis(unix_socket_path=str(db.address.unix_socket)) as connection:
            check_everything(connection)


def test_a_log_of_writes_begins_with_what_was_restored(redis_server: str) -> None:
    plain = {"module": (), "redis_server": redis_server}
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(**plain))
        with Shard(db.nodes[0].endpoint) as shard:
            shard.command("SET", "k", "v")
        db.snapshot("saved")
    with Experiment("e") as exp:
        config = RedisConfig(append_only=True)
        db = exp.start(Orchestrator(config=config, restore_from="saved", **plain))
        with Shard(db.nodes[0].endpoint) as shard:
            assert shard.command("GET", "k") == b"v"
            assert shard.facts()["aof_enabled"] == "1"


def test_a_second_save_goes_elsewhere_and_leaves_the_first(tmp_path: Path) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        db.snapshot("saved")
        before = (tmp_path / "saved" / "shard_0.rdb").read_bytes()
        with Shard(db.nodes[0].endpoint) as shard:
            shard.command("SET", "k", "v")
        with pytest.raises(SavedError, match="saved: there is something already"):
            db.snapshot("saved")
        db.snapshot("second")
        assert (tmp_path / "saved" / "shard_0.rdb").read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir() if "saved" in path.name) == ["saved"]


def test_a_shard_that_cannot_write_is_named_and_no_half_is_left(tmp_path: Path) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, module=()))
        (db.nodes[1].directory / "dump.rdb").mkdir()
        (db.nodes[1].directory / "dump.rdb" / "x").touch()
        with pytest.raises(SavedError, match=r"database_1 could not write; its log"):
            db.snapshot("saved")
        assert not (tmp_path / "saved").exists() and list(tmp_path.glob(".saved*")) == []


def test_a_database_that_has_ended_is_not_saved(tmp_path: Path) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        db.stop()
        with pytest.raises(SavedError, match="no server of shard 0 answers"):
            db.snapshot("saved")
        assert list(tmp_path.glob("*saved*")) == []


def test_a_file_that_is_no_rdb_shows_the_servers_log(tmp_path: Path) -> None:
    """Its checksum is right: it was broken before it was saved."""
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(module=()))
        db.snapshot("saved")
    path = tmp_path / "saved" / "saved.json"
    facts = json.loads(path.read_text())
    (tmp_path / "saved" / "shard_0.rdb").write_bytes(b"nonsense")
    facts["shards"][0] |= {"bytes": 8, "sha256": hashlib.sha256(b"nonsense").hexdigest()}
    path.write_text(json.dumps(facts))
    with Experiment("e") as exp, pytest.raises(DatabaseFailed, match=r"(?i)rdb|signature|format"):
        exp.start(Orchestrator(module=(), restore_from="saved"))


def test_the_command_saves_too(tmp_path: Path) -> None:
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, module=()))
        key = key_within(db.nodes[1].slots or range(0), "k")
        with Shard(db.nodes[1].endpoint) as shard:
            shard.command("SET", key, "v")
        done = penstock("db", "--snapshot", "saved")
        assert done.returncode == 0 and "saved 2 shards" in done.stdout
        again = penstock("db", "--snapshot", "saved")
        assert again.returncode == 1 and "something already" in again.stderr
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, module=(), restore_from=tmp_path / "saved"))
        with Shard(db.nodes[1].endpoint) as shard:
            assert shard.command("GET", key) == b"v"
