"""Servers of a database that die by kill -9, and what becomes of the run."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator import Application, Database, Experiment, JobState, Orchestrator, RedisConfig
from orchestrator.binaries import find_redis_server, server_binary
from orchestrator.cluster import key_within
from orchestrator.database import PROMOTES
from orchestrator.errors import DatabaseFailed, ServerError
from orchestrator.run_files import read_record
from orchestrator.shard import Shard
from sim_clients import connect

DEADLINE_S = 60.0
SLOW_S = 2
"""How long each sync to a slow disk takes."""
SOLVER = """
import sys
import numpy as np
from pathlib import Path
from smartredis import Client
client = Client(logger_name="solver")
for n in range(100_000):
    client.put_tensor(f"t{n}", np.full(10, float(n)))
    assert client.get_tensor(f"t{n}")[0] == n
    if n == 200:
        print("under way", flush=True)
    if Path("stop").exists():
        break
print("done", n, flush=True)
"""


class Changes:
    """What a database tells of servers that have died; waits for it."""

    def __init__(self, database: Database) -> None:
        self._told: queue.Queue[str] = queue.Queue()
        noted = database._keeper.changed if database._keeper is not None else lambda _: None

        def listen(sentence: str) -> None:
            noted(sentence)
            self._told.put(sentence)

        database.when_changed(listen)

    def next(self) -> str:
        return self._told.get(timeout=DEADLINE_S)


def needs_promotion(version: tuple[int, int, int]) -> None:
    if version < PROMOTES:
        pytest.skip("this Redis cannot be told to announce another port")


def kill(database: Database, number: int) -> None:
    pid = database.jobs[number].pid
    assert pid is not None
    os.kill(pid, 9)


def put(database: Database, shard: int, value: str) -> str:
    node = database.nodes[shard]
    key = key_within(node.slots or range(16_384), "k")
    with Shard(node.endpoint) as connection:
        connection.command("SET", key, value)
    return key


def test_a_replica_takes_the_place_of_its_primary_under_a_solver(redis_server: str, tmp_path: Path) -> None:
    needs_promotion(server_binary(redis_server).version)
    program = tmp_path / "solver.py"
    program.write_text(SOLVER)
    orchestrator = Orchestrator(shards=3, replicas=1, on_shard_failure="promote", redis_server=redis_server)
    with Experiment("e") as exp:
        db = exp.start(orchestrator)
        changes = Changes(db)
        solver = exp.start(Application("solver", [sys.executable, program]), database=db)
        wait_for(solver, "under way")
        before, dead = db.address, db.nodes[1]
        kill(db, 1)
        assert changes.next() == (
            "database_1 was killed by signal 9 (SIGKILL); its replica database_4 has taken its place"
        )
        (solver.directory / "stop").touch()
        solver.wait(DEADLINE_S)
        assert db.state is JobState.ACTIVE and db.failure() is None
        assert db.jobs[1].state is JobState.FAILED
        assert db.address == before
        status = db.status()
        assert [(node.name, node.role) for node in status.nodes] == [
            ("database_0", "primary"),
            ("database_2", "primary"),
            ("database_3", "replica"),
            ("database_5", "replica"),
            ("database_4", "primary"),
        ]
        later = connect(db.address)
        assert later.get_tensor("t200").tolist() == [200.0] * 10
        for node in db.nodes:
            with Shard(node.endpoint) as shard:
                assert dead.identity.encode() not in shard.command("CLUSTER NODES")
        db.snapshot("saved")
    record = read_record(exp.run_dir)
    assert record["state"] == "completed"
    assert record["databases"][0]["environment"]["SSDB"] == str(db.address)


def wait_for(job: Any, text: str) -> None:
    while text not in (job.log.read_text() if job.log.exists() else ""):
        assert not job.wait_ended(0.01), job.log.read_text()


def test_an_old_server_that_would_send_clients_nowhere_is_refused(redis_server: str) -> None:
    if server_binary(redis_server).version >= PROMOTES:
        pytest.skip("this Redis can be told to announce another port")
    orchestrator = Orchestrator(shards=2, replicas=1, on_shard_failure="promote", redis_server=redis_server)
    with Experiment("e") as exp, pytest.raises(ServerError, match=r"needs Redis 7\.0\.0"):
        exp.start(orchestrator)


def test_without_a_replica_left_the_run_ends_with_the_reason() -> None:
    needs_promotion(find_redis_server().version)
    orchestrator = Orchestrator(shards=2, replicas=1, on_shard_failure="promote", module=())
    with (
        pytest.raises(DatabaseFailed, match=r"'database_0' .*in the middle; no replica was left") as caught,
        Experiment("e") as exp,
    ):
        db = exp.start(orchestrator)
        changes = Changes(db)
        solver = exp.start(Application("solver", ["sleep", "1000"]), database=db)
        kill(db, 2)
        assert changes.next().endswith("shard 0 goes on without this replica")
        assert db.state is JobState.ACTIVE
        kill(db, 0)
        exp.wait(solver)
    assert caught.value.returncode == -9
    assert solver.state is JobState.CANCELED


@pytest.mark.parametrize(("shards", "port"), [(1, None), (1, 0), (2, None)])
def test_a_solver_waits_for_a_server_that_starts_again(
    redis_server: str, tmp_path: Path, shards: int, port: int | None
) -> None:
    """It meets no server that is loading its data, or whose cluster is down."""
    program = tmp_path / "solver.py"
    program.write_text(SOLVER)
    orchestrator = Orchestrator(
        shards=shards,
        port=port,
        on_shard_failure="restart",
        config=RedisConfig(append_only=True),
        redis_server=redis_server,
    )
    with Experiment("e") as exp:
        db = exp.start(orchestrator)
        changes = Changes(db)
        solver = exp.start(Application("solver", [sys.executable, program]), database=db)
        wait_for(solver, "under way")
        kill(db, shards - 1)
        changes.next()
        (solver.directory / "stop").touch()
        solver.wait(DEADLINE_S)
        assert connect(db.address).get_tensor("t200").tolist() == [200.0] * 10


@pytest.mark.parametrize("shards", [1, 2])
def test_a_server_that_logs_its_writes_starts_again_with_all_of_them(redis_server: str, shards: int) -> None:
    orchestrator = Orchestrator(
        shards=shards,
        on_shard_failure="restart",
        config=RedisConfig(append_only=True),
        redis_server=redis_server,
    )
    with Experiment("e") as exp:
        db = exp.start(orchestrator)
        changes = Changes(db)
        client = connect(db.address)
        for n in range(30):
            client.put_tensor(f"t{n}", np.full(100, float(n)))
        first = db.jobs[-1].pid
        kill(db, shards - 1)
        assert changes.next().endswith("(SIGKILL); started again from its log of writes")
        assert db.state is JobState.ACTIVE and db.jobs[-1].pid != first and db.jobs[-1].attempts == 2
        again = connect(db.address)
        assert [again.get_tensor(f"t{n}")[0] for n in range(30)] == list(range(30))
        again.put_tensor("more", np.zeros(1))
        exp.wait(exp.start(Application("after", ["true"]), database=db))
    assert read_record(exp.run_dir)["state"] == "completed"


SLOW_DISK = """
#include <unistd.h>
int fdatasync(int file) { (void)file; return sleep(DELAY_S); }
int fsync(int file) { (void)file; return 0; }
"""


def test_what_was_answered_while_the_disk_was_busy_is_in_the_log(
    redis_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own default Redis answers for two seconds without writing when a sync takes that long."""
    source, library = tmp_path / "disk.c", tmp_path / "disk.so"
    source.write_text(SLOW_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", f"-DDELAY_S={SLOW_S}", source, "-o", library], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    plain = {"module": (), "redis_server": redis_server, "config": RedisConfig(append_only=True)}
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(on_shard_failure="restart", **plain))
        monkeypatch.delenv("LD_PRELOAD")
        changes = Changes(db)
        with Shard(db.nodes[0].endpoint) as shard:
            end = time.monotonic() + 1.5 * SLOW_S  # beyond the first sync, which Redis begins after a second
            number = 0
            while time.monotonic() < end:
                number += 1
                shard.command("SET", "k", str(number))
        kill(db, 0)
        changes.next()
        with Shard(db.nodes[0].endpoint) as shard:
            assert shard.command("GET", "k") == str(number).encode()


def test_a_server_starts_again_with_what_was_last_saved(redis_server: str) -> None:
    plain = {"module": (), "redis_server": redis_server}
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, on_shard_failure="restart", **plain))
        changes = Changes(db)
        key = put(db, 1, "saved")
        db.snapshot("saved")
        put(db, 1, "lost")
        kill(db, 1)
        assert changes.next().endswith("started again from what was last saved of it")
        with Shard(db.nodes[1].endpoint) as shard:
            assert shard.command("GET", key) == b"saved"
        assert [node.role for node in db.status().nodes] == ["primary", "primary"]


def test_a_server_that_was_never_saved_ends_the_run_and_the_reason_says_what_to_do() -> None:
    with (
        pytest.raises(DatabaseFailed, match=r"never saved\. db\.snapshot\(directory\).*append_only"),
        Experiment("e") as exp,
    ):
        db = exp.start(Orchestrator(on_shard_failure="restart", module=()))
        put(db, 0, "v")
        kill(db, 0)
        exp.wait(exp.start(Application("solver", ["sleep", "1000"]), database=db))


def test_a_server_that_dies_again_and_again_ends_the_run() -> None:
    config = RedisConfig(append_only=True)
    with pytest.raises(DatabaseFailed, match="started again 3 times already"), Experiment("e") as exp:
        db = exp.start(Orchestrator(on_shard_failure="restart", module=(), config=config))
        changes = Changes(db)
        for _ in range(3):
            kill(db, 0)
            changes.next()
        kill(db, 0)
        exp.wait(exp.start(Application("solver", ["sleep", "1000"]), database=db))


def test_a_server_that_cannot_start_again_shows_its_log() -> None:
    config = RedisConfig(append_only=True)
    with (
        pytest.raises(DatabaseFailed, match=r"'database_0' .*in the middle; .*at its start"),
        Experiment("e") as exp,
    ):
        db = exp.start(Orchestrator(on_shard_failure="restart", module=(), config=config))
        put(db, 0, "v")
        for file in [*db.nodes[0].directory.rglob("*.aof")]:
            file.write_bytes(b"nonsense" * 100)
        kill(db, 0)
        exp.wait(exp.start(Application("solver", ["sleep", "1000"]), database=db))


def test_what_was_restored_is_logged_before_the_database_is_ready(redis_server: str) -> None:
    """Else a server that dies then would start again with an empty log."""
    plain = {"module": (), "redis_server": redis_server}
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(**plain))
        with Shard(db.nodes[0].endpoint) as shard:
            for n in range(20):
                shard.command("SET", f"k{n}", "x" * (1 << 20))
        db.snapshot("saved")
    config = RedisConfig(append_only=True)
    with Experiment("e") as exp:
        orchestrator = Orchestrator(on_shard_failure="restart", restore_from="saved", config=config, **plain)
        db = exp.start(orchestrator)
        changes = Changes(db)
        kill(db, 0)
        assert changes.next().endswith("from its log of writes")
        assert db.status().keys == 20


@pytest.mark.parametrize("how", ["promote", "restart"])
def test_what_is_stopped_is_not_made_good(how: str) -> None:
    replicas = 1 if how == "promote" else 0
    if replicas:
        needs_promotion(find_redis_server().version)
    config = RedisConfig(append_only=True)
    with suppress(DatabaseFailed), Experiment("e") as exp:
        db = exp.start(
            Orchestrator(shards=2, replicas=replicas, on_shard_failure=how, module=(), config=config)
        )
        kill(db, 0)  # its end is seen while that is being made good, or before
        db.stop()
        assert all(job.state.final for job in db.jobs)
    assert read_record(exp.run_dir)["state"] in ("completed", "failed")
