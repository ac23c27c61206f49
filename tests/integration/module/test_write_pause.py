"""While writes are paused (CLIENT PAUSE, FAILOVER) what ends waits, and the server lives.

With an append-only file a server that wrote in a pause would abort. No pause here ends by its time.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, store_model
from tests.integration.module.long_runs import (
    HELD,
    blocked_clients,
    has_answer,
    held_run,
    resp,
    run_command,
    sleeps,
    thread_states,
    workers_sleep,
)
from tests.integration.servers import RedisServer, StartServer, free_port, wait_until
from tests.integration.torchscript import endless, forward, identity, slow_to_load

AOF = {"appendonly": "yes"}
HOUR_MS = 3_600_000


class Unpaused:
    """A connection that no pause holds up: one that has asked for MONITOR counts as a replica.

    It may ask for nothing that reads a key.
    """

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._raw.sendall(b"MONITOR\r\n")
        self._read_until(b"+OK\r\n")

    def _read_until(self, end: bytes) -> bytes:
        received = b""
        while end not in received:
            some = self._raw.recv(65536)
            assert some, "the server has left"
            received += some
        return received

    def ask(self, command: bytes, end: bytes) -> bytes:
        """Send a command; return what came until the end of its reply, what others have sent included."""
        self._raw.sendall(command + b"\r\n")
        return self._read_until(end)


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """Nothing happens in a server meanwhile."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def is_answered(raw: socket.socket, answer: bytes) -> None:
    assert raw.recv(100) == answer


def calls(db: redis.Redis, key: str) -> int:
    return int(info(db, key)["calls"])


@pytest.fixture
def own(start_server: StartServer) -> RedisServer:
    """A server with an append-only file, a model and its input."""
    server = start_server(options=AOF)
    db = server.connect()
    store_model(db, "m", forward("return x + 1"))
    put(db, "x", np.ones(3, np.float32))
    return server


def test_a_run_waits_until_the_pause_is_ended(own: RedisServer) -> None:
    db = own.connect()
    with held_run(own, db) as held, own.raw_socket() as raw:
        raw.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 2, "the run to wait")
        db.execute_command("CLIENT", "PAUSE", HOUR_MS, "WRITE")
        held.abandon()
        wait_until(lambda: calls(db, "m") == 1, "the run to end")
        assert not has_answer(raw)
        assert db.exists("y") == 0
        db.execute_command("CLIENT", "UNPAUSE")
        is_answered(raw, b"+OK\r\n")
    np.testing.assert_array_equal(get(db, "y"), np.full(3, 2.0))


def test_a_run_waits_until_a_pause_of_everything_is_ended(own: RedisServer) -> None:
    db = own.connect()
    store_model(db, "endless", endless())
    keys = b"db0:keys=%d," % db.dbsize()
    with own.raw_socket() as busy, own.raw_socket() as raw, own.raw_socket() as other:
        unpaused = Unpaused(other)
        busy.sendall(run_command("endless", "x", output="never"))
        wait_until(lambda: thread_states(own, "ai-CPU") == "R", "the first run to begin")
        raw.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 2, "the second run to wait")
        db.execute_command("CLIENT", "PAUSE", HOUR_MS, "ALL")
        busy.close()
        wait_until(lambda: workers_sleep(own), "both to end")
        unpaused.ask(b"INFO keyspace", keys)
        assert not has_answer(raw)
        unpaused.ask(b"CLIENT UNPAUSE", b"+OK\r\n")
        is_answered(raw, b"+OK\r\n")
    np.testing.assert_array_equal(get(db, "y"), np.full(3, 2.0))


def test_a_pause_that_ends_by_its_time_ends_the_wait(own: RedisServer) -> None:
    db = own.connect()
    with held_run(own, db) as held, own.raw_socket() as raw:
        raw.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 2, "the run to wait")
        db.execute_command("CLIENT", "PAUSE", 200, "WRITE")
        held.abandon()
        is_answered(raw, b"+OK\r\n")


def test_a_dag_that_persists_waits_and_one_that_reads_does_not(own: RedisServer) -> None:
    db = own.connect()
    run = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    with held_run(own, db) as held, own.raw_socket() as writes, own.raw_socket() as reads:
        writes.sendall(resp("AI.DAGEXECUTE", "LOAD", 1, "x", "PERSIST", 1, "y", "|>", *run))
        wait_until(lambda: blocked_clients(db) == 2, "the one to wait")
        reads.sendall(resp("AI.DAGEXECUTE_RO", "LOAD", 1, "x", "|>", *run))
        wait_until(lambda: blocked_clients(db) == 3, "both to wait")
        db.execute_command("CLIENT", "PAUSE", HOUR_MS, "WRITE")
        held.abandon()
        is_answered(reads, b"*1\r\n+OK\r\n")
        wait_until(lambda: calls(db, "m") == 2, "both to end")
        assert not has_answer(writes)
        assert db.exists("y") == 0
        db.execute_command("CLIENT", "UNPAUSE")
        is_answered(writes, b"*1\r\n+OK\r\n")
    assert db.exists("y") == 1


def test_a_store_that_ends_in_a_pause_is_stored_after_it(own: RedisServer) -> None:
    """A load cannot be held, so it takes the longer the more often it was over before the pause began."""
    db = own.connect()
    for rounds in (300, 3_000, 30_000):
        with own.raw_socket() as raw:
            raw.sendall(resp("AI.MODELSTORE", "n", "TORCH", "CPU", "BLOB", slow_to_load(2.0, rounds)))
            wait_until(lambda: blocked_clients(db) == 1 or has_answer(raw), "the store to begin")
            db.execute_command("CLIENT", "PAUSE", HOUR_MS, "WRITE")
            wait_until(lambda: thread_states(own, "ai-loader") == "S", "the load to end")
            ended_before = has_answer(raw)
            stored_before = db.exists("n") == 1
            db.execute_command("CLIENT", "UNPAUSE")
            answer = raw.recv(200)
        if not ended_before:
            assert not stored_before
            assert answer == b"+OK\r\n"
            break
        db.delete("n")
    assert not ended_before, "every load was over before its pause began"
    execute(db, "n", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.full(3, 2.0))


def test_a_scripts_commands_wait_for_the_end_of_a_pause(own: RedisServer) -> None:
    db = own.connect()
    source = (
        "def count(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
        "    while str(redis.execute('EXISTS', keys[1])) == '0':\n"
        "        redis.execute('INCR', keys[0])\n"
        "    return torch.ones([1])\n"
    )
    db.execute_command("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "count", "SOURCE", source)
    with own.raw_socket() as raw:
        raw.sendall(resp("AI.SCRIPTEXECUTE", "s", "count", "KEYS", 2, "k", "end", "OUTPUTS", 1, "o"))
        wait_until(lambda: db.exists("k") == 1, "the script to begin")
        db.execute_command("CLIENT", "PAUSE", HOUR_MS, "WRITE")
        counted, tries = db.get("k"), sleeps(own, "ai-CPU")
        wait_until(lambda: sleeps(own, "ai-CPU") > tries + 100, "the script to have tried often")
        assert db.get("k") == counted
        db.execute_command("CLIENT", "UNPAUSE")
        wait_until(lambda: db.get("k") != counted, "the script to go on")
        db.set("end", "1")
        is_answered(raw, b"+OK\r\n")


def test_a_run_that_ends_in_a_failover_is_refused_by_the_replica(start_server: StartServer) -> None:
    """The failover waits for a replica that has been stopped, and the run ends meanwhile."""
    options = {"repl-diskless-sync-delay": "0"}
    master = start_server(port=free_port(), options=options)
    replica = start_server(
        port=free_port(), options={"replicaof": f"127.0.0.1 {master.config.port}", **options}
    )
    db, link = master.connect(), replica.connect()
    wait_until(lambda: link.info("replication")["master_link_status"] == "up", "the replica to be in step")
    store_model(db, "m", identity())
    with held_run(master, db) as held, master.raw_socket() as raw, stopped(replica):
        put(db, "x", np.ones(3))  # the replica does not get it
        raw.sendall(run_command("m", "x", output="y"))
        wait_until(lambda: blocked_clients(db) == 2, "the run to wait")
        db.execute_command("FAILOVER")
        held.abandon()
        wait_until(lambda: calls(db, "m") == 1, "the run to end")
        assert db.info("replication")["role"] == "master"
        assert not has_answer(raw)
    wait_until(lambda: db.info("replication")["role"] == "slave", "the failover")
    wait_until(lambda: link.info("replication")["role"] == "master", "the failover")
    wait_until(lambda: db.info("replication").get("master_link_status") == "up", "the old master to follow")
    assert (db.exists("y", HELD), link.exists("y", HELD)) == (0, 0)
