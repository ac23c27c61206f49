"""While writes are paused (CLIENT PAUSE, FAILOVER) what ends waits, and the server lives."""

from __future__ import annotations

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get, info, put
from tests.integration.module.long_runs import has_answer, long_run, prepare_burner, resp
from tests.integration.servers import RedisServer, StartServer, free_port, wait_until
from tests.integration.torchscript import slow_to_load

AOF = {"appendonly": "yes"}


@pytest.mark.parametrize("what", ["WRITE", "ALL"])
def test_a_run_that_ends_in_a_pause_is_stored_after_it(start_server: StartServer, what: str) -> None:
    server = start_server(options=AOF)
    db = server.connect()
    with long_run(server, db, 0.3) as raw:
        db.execute_command("CLIENT", "PAUSE", 1500, what)
        assert raw.recv(100) == b"+OK\r\n"
    assert get(db, "burned").size > 0
    assert server.is_alive()


def test_a_run_waits_until_the_pause_is_ended(start_server: StartServer) -> None:
    server = start_server(options=AOF)
    db = server.connect()
    with long_run(server, db, 1.5) as raw:
        db.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        before = info(db, "burner")["calls"]
        wait_until(lambda: info(db, "burner")["calls"] > before, "the run to end")
        assert not has_answer(raw)
        assert db.exists("burned") == 0
        db.execute_command("CLIENT", "UNPAUSE")
        assert raw.recv(100) == b"+OK\r\n"
    assert db.exists("burned") == 1


def test_a_dag_that_persists_waits_and_one_that_reads_does_not(start_server: StartServer) -> None:
    server = start_server(options=AOF)
    db = server.connect()
    prepare_burner(db, 1.5)
    run = ("AI.MODELEXECUTE", "burner", "INPUTS", 2, "x", "rounds", "OUTPUTS", 1, "out")
    with server.raw_socket() as writes, server.raw_socket() as reads:
        writes.sendall(resp("AI.DAGEXECUTE", "LOAD", 2, "x", "rounds", "PERSIST", 1, "out", "|>", *run))
        reads.sendall(resp("AI.DAGEXECUTE_RO", "LOAD", 2, "x", "rounds", "|>", *run))
        wait_until(lambda: db.info("clients")["blocked_clients"] == 2, "both to begin")
        db.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        assert reads.recv(100) == b"*1\r\n+OK\r\n"
        assert not has_answer(writes)
        db.execute_command("CLIENT", "UNPAUSE")
        assert writes.recv(100) == b"*1\r\n+OK\r\n"
    assert db.exists("out") == 1


def test_a_store_that_ends_in_a_pause_is_stored_after_it(start_server: StartServer) -> None:
    server = start_server(options=AOF)
    db = server.connect()
    with server.raw_socket() as raw:
        raw.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", slow_to_load(2.0, 600)))
        wait_until(
            lambda: db.info("clients")["blocked_clients"] == 1 or has_answer(raw), "the store to begin"
        )
        db.execute_command("CLIENT", "PAUSE", 1000, "WRITE")
        assert raw.recv(100) == b"+OK\r\n"
    assert db.exists("m") == 1


def test_a_scripts_commands_wait_for_the_end_of_a_pause(start_server: StartServer) -> None:
    server = start_server(options=AOF)
    db = server.connect()
    source = (
        "def count(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
        "    for i in range(int(args[0])):\n"
        "        redis.execute('INCR', keys[0])\n"
        "    return torch.ones([1])\n"
    )
    db.execute_command("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "count", "SOURCE", source)
    put(db, "a", np.ones(1, np.float32))
    with server.raw_socket() as raw:
        raw.sendall(
            resp("AI.SCRIPTEXECUTE", "s", "count", "KEYS", 1, "k", "ARGS", 1, 3000, "OUTPUTS", 1, "o")
        )
        wait_until(lambda: db.exists("k") == 1, "the script to begin")
        db.execute_command("CLIENT", "PAUSE", 300, "WRITE")
        assert raw.recv(100) == b"+OK\r\n"
    assert db.get("k") == b"3000"


def test_a_run_that_ends_in_a_failover_is_refused_by_the_replica(start_server: StartServer) -> None:
    options = {"repl-diskless-sync-delay": "0"}
    master = start_server(port=free_port(), options=options)
    replica = start_server(
        port=free_port(), options={"replicaof": f"127.0.0.1 {master.config.port}", **options}
    )
    links: list[tuple[RedisServer, redis.Redis]] = [(s, s.connect()) for s in (master, replica)]
    db, link = links[0][1], links[1][1]
    wait_until(lambda: link.info("replication")["master_link_status"] == "up", "the replica to be in step")
    with long_run(master, db, 3.0):
        db.execute_command("FAILOVER")
        wait_until(lambda: db.info("replication")["role"] == "slave", "the failover")
        wait_until(lambda: link.info("replication")["role"] == "master", "the failover")
    wait_until(lambda: db.info("replication").get("master_link_status") == "up", "the old master to follow")
    assert master.is_alive()
    assert replica.is_alive()
    assert (db.exists("burned"), link.exists("burned")) == (0, 0)
