"""Servers that hang, by SIGSTOP, and such as only seem to."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator import Application, Database, Experiment, JobState, Orchestrator, RedisConfig, colocate
from orchestrator.errors import DatabaseFailed, JobFailed, UsageError
from orchestrator.launchers.base import Job, Launch
from orchestrator.node import Node
from orchestrator.pulse import Pulse
from orchestrator.redis_config import Endpoint
from orchestrator.run_files import read_record
from orchestrator.shard import Shard
from orchestrator.watcher import read_stat
from sim_clients import connect
from tests.integration.orchestrator.bound import servers_in
from tests.integration.orchestrator.test_shard_failure import SOLVER, Changes, needs_promotion, wait_for
from tests.integration.orchestrator.test_shard_failure import server_binary as binary

SOON = 0.5
"""The time after which a server hangs here, s."""
BUSY = """
local function now() local t = redis.call('TIME') return tonumber(t[1]) * 1000000 + tonumber(t[2]) end
local began = now()
repeat until now() > began + 2500000
return 1
"""


def stop(pid: int | None) -> None:
    """Stop a process, and wait until it is."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    while (stat := read_stat(pid)) is not None and stat.state != "T":
        pass


def forever(database: Database, exp: Experiment) -> Job:
    return exp.start(Application("solver", ["sleep", "1000"]), database=database)


@pytest.mark.parametrize("shards", [1, 2])
def test_a_stopped_server_ends_the_run_with_the_reason(
    redis_server: str, shards: int, gone: Callable[..., None]
) -> None:
    config = RedisConfig(unresponsive_s=SOON)
    with (
        pytest.raises(
            DatabaseFailed, match=r"had not answered for .* s, and its process is stopped"
        ) as caught,
        Experiment("e") as exp,
    ):
        db = exp.start(Orchestrator(shards=shards, config=config, module=(), redis_server=redis_server))
        solver, hung = forever(db, exp), db.jobs[-1].pid
        stop(hung)
        exp.wait(timeout_s=60)
    assert caught.value.returncode == -signal.SIGKILL and solver.state is JobState.CANCELED
    assert hung is not None
    gone(hung)
    assert "had not answered" in read_record(exp.run_dir)["error"]


def test_a_replica_takes_the_place_of_a_primary_that_hangs(redis_server: str, tmp_path: Path) -> None:
    needs_promotion(binary(redis_server).version)
    (tmp_path / "solver.py").write_text(SOLVER)
    config = RedisConfig(unresponsive_s=SOON)
    plan = Orchestrator(
        shards=3, replicas=1, on_shard_failure="promote", config=config, redis_server=redis_server
    )
    with Experiment("e") as exp:
        db = exp.start(plan)
        changes = Changes(db)
        solver = exp.start(Application("solver", [sys.executable, tmp_path / "solver.py"]), database=db)
        wait_for(solver, "under way")
        stop(db.jobs[1].pid)
        told = changes.next()
        assert told.startswith("database_1 was killed by signal 9 (SIGKILL); it had not answered for ")
        assert told.endswith("its replica database_4 has taken its place")
        (solver.directory / "stop").touch()
        solver.wait(60)
        assert connect(db.address).get_tensor("t200").tolist() == [200.0] * 10


def test_what_a_cluster_calls_failed_is_not_waited_for(redis_server: str) -> None:
    config = RedisConfig(cluster_node_timeout_ms=500, append_only=True)
    with Experiment("e") as exp:
        plan = Orchestrator(
            shards=3, on_shard_failure="restart", config=config, module=(), redis_server=redis_server
        )
        db = exp.start(plan)
        changes = Changes(db)
        stop(db.jobs[2].pid)
        told = changes.next()
        assert "; the others of its cluster call it failed, silent for " in told
        assert told.endswith("its process is stopped; started again from its log of writes")
        assert db.status().problems == ()


def test_a_server_that_hangs_starts_again_with_every_write(redis_server: str) -> None:
    config = RedisConfig(append_only=True, unresponsive_s=SOON)
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(on_shard_failure="restart", config=config, redis_server=redis_server))
        changes = Changes(db)
        connect(db.address).put_tensor("u", np.arange(3.0))
        while not any(b"\r\nu\r\n" in log.read_bytes() for log in db.nodes[0].directory.rglob("*.aof")):
            assert not db.jobs[0].wait_ended(0.01)  # while the disk is at work a server puts off its log
        for _ in range(2):
            stop(db.jobs[0].pid)
            assert changes.next().endswith("started again from its log of writes")
        assert connect(db.address).get_tensor("u").tolist() == [0.0, 1.0, 2.0]
        exp.wait(exp.start(Application("after", ["true"]), database=db))


def test_a_busy_server_does_not_hang(redis_server: str, capfd: pytest.CaptureFixture[str]) -> None:
    config = RedisConfig(unresponsive_s=SOON, extra_args=["--lua-time-limit", "0"])  # it answers nobody
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(config=config, module=(), redis_server=redis_server))
        with Shard(db.nodes[0].endpoint) as shard:
            assert shard.command("EVAL", BUSY, 0) == 1
        assert db.state is JobState.ACTIVE and db.status().problems == ()
    assert "has not answered for " in (said := capfd.readouterr().err) and "but works, and is let be" in said


def test_a_server_that_answers_with_an_error_does_not_hang(tmp_path: Path) -> None:
    """As one that loads its data, or runs a long script."""
    answered, node, job = stand_in(tmp_path, b"-LOADING Redis is loading the dataset in memory\r\n")
    pulse = Pulse(lambda: [(node, job)], lambda: job.state.final, 0.2, None)
    assert answered.wait(60)
    assert not job.wait_ended(0.6)
    job.report_ended(0)
    pulse.wake()


def test_a_server_that_only_takes_connections_hangs(tmp_path: Path) -> None:
    _, node, job = stand_in(tmp_path, b"")
    pulse = Pulse(lambda: [(node, job)], lambda: job.state.final, 0.2, None)
    assert job.wait_ended(60)
    pulse.wake()
    assert job.state is JobState.FAILED and (job.reason or "").startswith("it had not answered for 0.")


def stand_in(directory: Path, reply: bytes) -> tuple[threading.Event, Node, Job]:
    """Return a server that answers each PING so, as a Job that ends when it is killed."""
    listener, answered = socket.socket(socket.AF_UNIX), threading.Event()
    listener.bind(str(directory / "s"))
    listener.listen()
    launch = Launch("database_0", ["server"], directory, directory / "log", {})
    job = Job(launch, lambda number: job.report_ended(-number))
    job.report_started(None)

    def serve() -> None:
        with suppress(OSError), listener:  # it is shut down at the end
            while True:
                answer(listener.accept()[0])

    def answer(client: socket.socket) -> None:
        asked = 0
        with suppress(ConnectionError), client:
            while text := client.recv(1000):
                asked += text.count(b"PING")
                client.sendall(b"+OK\r\n" * text.count(b"SETINFO") + reply * text.count(b"PING"))
                if asked:
                    answered.set()

    job.when_ended(lambda _: listener.shutdown(socket.SHUT_RDWR))
    threading.Thread(target=serve, daemon=True).start()
    return answered, Node("database_0", 0, Endpoint(unix_socket=directory / "s"), directory), job


def test_a_database_beside_a_program_that_hangs_fails_the_program(redis_server: str) -> None:
    config = RedisConfig(unresponsive_s=SOON)
    with Experiment("e") as exp:
        app = Application("solver", ["sleep", "1000"])
        job = exp.start(colocate(app, config, module=(), redis_server=redis_server))
        exp.colocated(job)
        (server,) = servers_in(job.directory)
        stop(server)
        with pytest.raises(JobFailed, match=r"database's shard(.|\n)*had not answered for"):
            exp.wait(job, timeout_s=60)


def test_nobody_looks_where_that_is_not_wanted_and_nobody_does_after_the_end() -> None:
    def looking() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "penstock-pulse"]

    with Experiment("e") as exp:
        before = looking()
        exp.start(Orchestrator(config=RedisConfig(unresponsive_s=None), module=()))
        assert set(looking()) <= set(before)
    with Experiment("e") as exp:
        exp.start(Orchestrator(module=()))
        (thread,) = set(looking()) - set(before)
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("wrong", [0, -1.0, "1", True, float("inf"), float("nan")])
def test_a_time_that_cannot_be_is_named(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"RedisConfig\(unresponsive_s="):
        RedisConfig(unresponsive_s=wrong)


def test_the_clock_of_a_server_begins_when_it_is_ready() -> None:
    """A start that takes longer than the limit is nobody's silence."""
    with Experiment("e") as exp:
        db = exp.start(Orchestrator(shards=2, config=RedisConfig(unresponsive_s=0.05), module=()))
        exp.wait(exp.start(Application("a", ["sleep", "0.5"]), database=db), timeout_s=60)
        assert db.state is JobState.ACTIVE


def test_who_is_started_again_is_looked_at_again(tmp_path: Path) -> None:
    """Between the death of the only server and its new start there is none."""
    there: list[tuple[Node, Job]] = []
    looked = threading.Event()
    _, node, job = stand_in(tmp_path, b"")

    def running() -> list[tuple[Node, Job]]:
        looked.set()
        return list(there)

    pulse = Pulse(running, lambda: job.state.final, 0.2, None)
    assert looked.wait(60)
    there.append((node, job))
    assert job.wait_ended(60) and job.state is JobState.FAILED
    pulse.wake()
