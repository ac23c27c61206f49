"""The server answers while a model loads or runs, drops what nobody waits for, and leaves when told."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

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
    thread_states,
    workers_sleep,
)
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, forward, never_loaded, slow_to_load

TICKS = 10
"""So often the server itself wakes while idle threads are watched: for about a second."""


def test_commands_are_answered_before_a_run_ends(server: RedisServer, db: redis.Redis) -> None:
    with held_run(server, db) as held:
        assert db.ping()
        put(db, "t", np.ones(10))
        np.testing.assert_array_equal(get(db, "t"), np.ones(10))
        assert not held.is_answered()
        held.end()
    np.testing.assert_array_equal(get(db, HELD), np.ones(3))


def test_redisai_defect_1_ping_is_answered_before_a_model_is_loaded(start_server: StartServer) -> None:
    """The first MODELSTORE of a server also opens the backend; a load that does not end comes on top."""
    server = start_server()
    db = server.connect()
    with server.raw_socket() as raw:
        raw.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", never_loaded()))
        wait_until(lambda: blocked_clients(db) > 0, "the store to be read")
        wait_until(lambda: thread_states(server, "ai-loader") == "R", "the load to begin")
        assert db.ping()
        assert not has_answer(raw)


def test_redisai_defect_9_work_of_a_client_that_went_away_is_dropped(
    server: RedisServer, db: redis.Redis
) -> None:
    store_model(db, "other", adder())
    put(db, "a", np.ones(3))
    with held_run(server, db) as held:
        with server.raw_socket() as leaving:
            leaving.sendall(run_command("other", "a", "a", output="left"))
            wait_until(lambda: blocked_clients(db) == 2, "the second run to be queued")
        wait_until(lambda: blocked_clients(db) == 1, "the server to see that the client has gone")
        held.end()
    execute(db, "other", ["a", "a"], ["kept"])
    assert info(db, "other")["calls"] == 1
    assert db.exists("left") == 0


def test_a_client_killed_in_the_middle_of_its_run_kills_nothing_else(
    server: RedisServer, db: redis.Redis
) -> None:
    with held_run(server, db):
        pass  # the socket closes with the run in flight
    store_model(db, "m", adder())
    put(db, "a", np.ones(3))
    execute(db, "m", ["a", "a"], ["sum"])
    np.testing.assert_array_equal(get(db, "sum"), np.full(3, 2.0))
    assert db.exists(HELD) == 0


def test_many_clients_coming_and_going_leave_the_server_whole(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", adder())
    put(db, "a", np.ones(1000))
    for i in range(200):
        with server.raw_socket() as raw:
            raw.sendall(run_command("m", "a", "a", output=f"out{i % 7}") * (i % 4))
    wait_until(lambda: blocked_clients(db) == 0, "the abandoned runs to be over")
    execute(db, "m", ["a", "a"], ["sum"])
    np.testing.assert_array_equal(get(db, "sum"), np.full(1000, 2.0))


def leave_in_the_middle_of_a_load(server: RedisServer, db: redis.Redis) -> None:
    """A load cannot be held, so it takes the longer the more often this came too late."""
    for rounds in (300, 3_000, 30_000):
        with server.raw_socket() as raw:
            raw.sendall(resp("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", slow_to_load(1.0, rounds)))
            wait_until(lambda: blocked_clients(db) > 0 or has_answer(raw), "the load to begin")
            if not has_answer(raw):
                return
    pytest.fail("every load was over before it was seen")


def test_a_client_that_leaves_while_its_model_loads(start_server: StartServer) -> None:
    server = start_server()
    db = server.connect()
    leave_in_the_middle_of_a_load(server, db)
    store_model(db, "m", adder())
    put(db, "a", np.ones(2))
    execute(db, "m", ["a", "a"], ["sum"])
    np.testing.assert_array_equal(get(db, "sum"), [2.0, 2.0])


def test_flushing_while_a_run_is_queued(server: RedisServer, db: redis.Redis) -> None:
    """A run holds its model and inputs from the moment it is queued; its output comes after the flush."""
    store_model(db, "other", adder())
    put(db, "a", np.ones(3))
    with held_run(server, db) as held, server.raw_socket() as queued:
        queued.sendall(run_command("other", "a", "a", output="out"))
        wait_until(lambda: blocked_clients(db) == 2, "the second run to be queued")
        db.flushall(asynchronous=True)
        held.end()
        assert queued.recv(1000) == b"+OK\r\n"
    np.testing.assert_array_equal(get(db, "out"), np.full(3, 2.0))
    assert db.exists("other", "a") == 0


def test_a_run_that_waits_longer_than_its_timeout_is_answered_timedout(
    server: RedisServer, db: redis.Redis
) -> None:
    store_model(db, "other", adder())
    put(db, "a", np.ones(3))
    with held_run(server, db) as held:
        reply = execute(db, "other", ["a", "a"], ["out"], "TIMEOUT", 1)
        assert reply == b"TIMEDOUT"
        held.end()
    assert db.exists("out") == 0


@pytest.mark.parametrize("how", ["SHUTDOWN", "SIGTERM"])
def test_redisai_defect_12_the_server_leaves_when_told_in_the_middle_of_a_run(
    start_server: StartServer, how: str
) -> None:
    server = start_server()
    db = server.connect()
    with held_run(server, db):
        if how == "SIGTERM":
            os.kill(server.pid, signal.SIGTERM)
            status = server.wait_for_exit()
        else:
            status = server.shutdown("NOSAVE")
    assert status == 0
    assert "bye bye" in server.log()
    assert "crash" not in server.log().lower()


def test_redisai_defect_12_an_idle_server_leaves_when_told(start_server: StartServer) -> None:
    server = start_server(arguments=("THREADS_PER_QUEUE", "4"))
    db = server.connect()
    store_model(db, "m", adder())
    put(db, "a", np.ones(2))
    execute(db, "m", ["a", "a"], ["b"])
    assert server.shutdown("NOSAVE") == 0


def wakeups(pid: int) -> dict[str, int]:
    """How often each thread went to sleep so far; the server's own is `main`."""
    counts = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        if not name.startswith(("bio_", "jemalloc_bg")):
            status = (task / "status").read_text()
            place = "main" if int(task.name) == pid else f"{name}/{task.name}"
            counts[place] = int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return counts


def test_redisai_defect_5_idle_workers_sleep(start_server: StartServer) -> None:
    server = start_server(arguments=("THREADS_PER_QUEUE", "2"))
    db = server.connect()
    store_model(db, "m", forward("return torch.mm(x, x)"))
    put(db, "x", np.ones((64, 64), np.float32))
    execute(db, "m", ["x"], ["y"])
    db.close()
    wait_until(lambda: workers_sleep(server), "the run's worker to be idle")
    before = wakeups(server.pid)
    ticked = before.pop("main") + TICKS
    assert before, "a server that runs models has worker threads"
    wait_until(lambda: wakeups(server.pid)["main"] >= ticked, "the server to tick")
    after = wakeups(server.pid)
    grown = {name: after[name] - count for name, count in before.items() if after[name] - count > 2}
    assert not grown, f"idle threads woke up: {grown}"


def test_runs_of_many_clients_all_come_back_right(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", adder())
    failures: list[str] = []

    def client(number: int) -> None:
        with server.connect() as own:
            for i in range(60):
                value = np.full(50 + number, float(number * 1000 + i))
                put(own, f"a{number}", value)
                execute(own, "m", [f"a{number}", f"a{number}"], [f"b{number}"])
                if not np.array_equal(get(own, f"b{number}"), 2 * value):
                    failures.append(f"client {number}, round {i}")

    threads = [threading.Thread(target=client, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert info(db, "m")["calls"] == 12 * 60
