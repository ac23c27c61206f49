"""AI._MODELSCAN and AI._SCRIPTSCAN: which models and scripts a database has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import put, refusal, store_model
from tests.integration.module.long_runs import blocked_clients, has_answer
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder

MANY = 600_000
SCANS = ["AI._MODELSCAN", "AI._SCRIPTSCAN"]


def store_both(db: redis.Redis, number: int) -> None:
    store_model(db, f"model:{number}", adder(), "TAG", f"v{number}")
    source = f"def f{number}(a):\n    return a\n"
    db.execute_command("AI.SCRIPTSET", f"script:{number}", "CPU", "TAG", f"t{number}", "SOURCE", source)


def test_each_is_named_with_its_tag(db: redis.Redis) -> None:
    put(db, "tensor", np.ones(2))
    db.set("text", "x")
    for number in range(3):
        store_both(db, number)
    store_model(db, "untagged", adder())
    models = [[f"model:{n}".encode(), f"v{n}".encode()] for n in range(3)]
    assert db.execute_command("AI._MODELSCAN") == [*models, [b"untagged", b""]]
    scripts = [[f"script:{n}".encode(), f"t{n}".encode()] for n in range(3)]
    assert db.execute_command("AI._SCRIPTSCAN") == scripts


@pytest.mark.parametrize("command", SCANS)
def test_nothing_is_an_empty_list(db: redis.Redis, command: str) -> None:
    assert db.execute_command(command) == []
    db.set("text", "x")
    assert db.execute_command(command) == []
    assert refusal(db, command, "more") == f"wrong number of arguments for '{command}' command"


def test_only_the_clients_database_is_looked_at(server: RedisServer, db: redis.Redis) -> None:
    store_both(db, 1)
    with server.connect(db=1) as other:
        assert other.execute_command("AI._MODELSCAN") == []
        store_both(other, 2)
        assert other.execute_command("AI._MODELSCAN") == [[b"model:2", b"v2"]]
    assert db.execute_command("AI._MODELSCAN") == [[b"model:1", b"v1"]]


def test_a_transaction_and_a_script_are_answered(db: redis.Redis) -> None:
    store_both(db, 1)
    with db.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("AI._MODELSCAN")
        pipeline.execute_command("AI._SCRIPTSCAN")
        assert pipeline.execute() == [[[b"model:1", b"v1"]], [[b"script:1", b"t1"]]]
    assert db.execute_command("EVAL", "return redis.call('AI._MODELSCAN')", 0) == [[b"model:1", b"v1"]]


@pytest.fixture
def large(start_server: StartServer) -> Iterator[RedisServer]:
    """A server whose database takes many slices to walk."""
    server = start_server()
    with server.connect() as db:
        fill = "for i = 1, ARGV[1] do redis.call('SET', 'k' .. i, i) end"
        db.execute_command("EVAL", fill, 0, MANY)
    yield server


def test_a_large_database_is_walked_while_others_are_served(large: RedisServer) -> None:
    """The scan takes many turns of the event loop: what another client does meanwhile shows it."""
    db = large.connect()
    for number in range(3):
        store_both(db, number)

    def is_served() -> bool:
        with large.raw_socket() as raw:
            raw.sendall(b"AI._MODELSCAN\r\n")
            wait_until(lambda: blocked_clients(db) == 1 or has_answer(raw), "the scan to go on in slices")
            assert db.ping()
            served = blocked_clients(db) == 1
            assert raw.recv(1000).startswith(b"*3\r\n*2\r\n$7\r\nmodel:0\r\n$2\r\nv0\r\n")
        return served

    wait_until(is_served, "another client to be served during a scan")
    raw = large.raw_socket()
    raw.sendall(b"AI._MODELSCAN\r\n" * 1000)  # one after another, until the client leaves
    wait_until(lambda: blocked_clients(db) == 1, "the scan to go on in slices")
    raw.close()
    wait_until(lambda: blocked_clients(db) == 0, "the scan of who has left to be forgotten")
