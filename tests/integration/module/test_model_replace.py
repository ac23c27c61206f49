"""Replacing a model under load: no run fails, no answer is older than the last acknowledged store."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

import numpy as np
import redis

from tests.integration.ai_commands import execute, get, info, put, store_model
from tests.integration.module.long_runs import run_all
from tests.integration.servers import RedisServer, wait_until
from tests.integration.torchscript import constant

CLIENTS = 8
VERSIONS = 40


class Versions:
    """What the threads share: how far the storing has come."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.answers = 0
        self.is_over = False


def test_no_run_fails_and_no_answer_is_stale(server: RedisServer, db: redis.Redis) -> None:
    versions = Versions()
    models = [constant(float(version)) for version in range(VERSIONS + 1)]
    store_model(db, "m", models[0])
    seen: list[set[int]] = [set() for _ in range(CLIENTS)]
    left: list[int] = []

    def running() -> bool:
        return len(left) < CLIENTS

    def store() -> None:
        try:
            with server.connect() as own:
                for version in range(1, VERSIONS + 1):
                    versions.sent = version
                    store_model(own, "m", models[version])
                    versions.acknowledged = version
                    answers = versions.answers  # a fast store must not outrun the runs
                    wait_until(lambda seen=answers: versions.answers > seen or not running(), "an answer")
        finally:
            versions.is_over = True

    def run(number: int) -> None:
        with server.connect() as own, contextlib.ExitStack() as leaving:
            leaving.callback(left.append, number)
            put(own, f"x{number}", np.ones(4, np.float32))
            while not versions.is_over:
                oldest = versions.acknowledged
                execute(own, "m", [f"x{number}"], [f"y{number}"])
                newest = versions.sent
                values = set(get(own, f"y{number}").tolist())
                assert len(values) == 1, f"one answer from two versions: {values}"
                (version,) = values
                assert oldest <= version <= newest
                seen[number].add(int(version))
                versions.answers += 1

    raised = run_all(store, *(lambda n=n: run(n) for n in range(CLIENTS)))  # type: ignore[misc]
    assert not raised
    assert len(set.union(*seen)) >= 3, "the runs saw too few versions for this test to mean anything"


def test_each_version_counts_what_it_answered(server: RedisServer, db: redis.Redis) -> None:
    """16 clients run while the model is replaced; what a version counts is what was answered with it."""
    store_model(db, "m", constant(0.0), "TAG", "0", "BATCHSIZE", 4)
    stop = threading.Event()
    answered: Counter[int] = Counter()

    def replace() -> None:
        try:
            with server.connect() as own:
                for version in range(1, 6):
                    tag = str(version)
                    store_model(own, "m", constant(float(version)), "TAG", tag, "BATCHSIZE", 4)
                    wait_until(lambda tag=tag: info(own, "m")["calls"] >= 20, "runs of the version")  # type: ignore[misc]
                    assert info(own, "m")["tag"] == tag.encode()
                    assert info(own, "m")["errors"] == 0
        finally:
            stop.set()

    def run(number: int) -> None:
        mine: Counter[int] = Counter()
        with server.connect() as own:
            put(own, f"x{number}", np.ones((1, 2), np.float32))
            while not stop.is_set():
                execute(own, "m", [f"x{number}"], [f"y{number}"])
                mine[int(get(own, f"y{number}")[0, 0])] += 1
        with lock:
            answered.update(mine)

    lock = threading.Lock()
    assert not run_all(replace, *(lambda n=n: run(n) for n in range(16)))  # type: ignore[misc]
    assert info(db, "m")["calls"] == info(db, "m")["samples"] == answered[5]


def test_a_model_deleted_and_stored_again_under_load_never_crashes(
    server: RedisServer, db: redis.Redis
) -> None:
    """Runs may fail while the key is empty; each failure says so, each answer is right."""
    blob = constant(3.0)
    store_model(db, "m", blob)
    stop = threading.Event()

    def replace() -> None:
        try:
            with server.connect() as own:
                for _ in range(30):
                    own.execute_command("AI.MODELDEL", "m")
                    store_model(own, "m", blob)
        finally:
            stop.set()

    def run(number: int) -> None:
        with server.connect() as own:
            put(own, f"x{number}", np.ones(2, np.float32))
            while not stop.is_set():
                try:
                    execute(own, "m", [f"x{number}"], [f"y{number}"])
                except redis.ResponseError as error:
                    assert str(error) == "model key is empty"
                else:
                    np.testing.assert_array_equal(get(own, f"y{number}"), [3.0, 3.0])

    assert not run_all(replace, *(lambda n=n: run(n) for n in range(4)))  # type: ignore[misc]


def test_two_writers_of_one_model_leave_one_of_theirs(server: RedisServer, db: redis.Redis) -> None:
    def write(value: float) -> None:
        with server.connect() as own:
            for _ in range(15):
                store_model(own, "m", constant(value))

    assert not run_all(lambda: write(1.0), lambda: write(2.0))
    put(db, "x", np.ones(2, np.float32))
    execute(db, "m", ["x"], ["y"])
    answer = set(get(db, "y").tolist())
    blob = db.execute_command("AI.MODELGET", "m", "BLOB")
    assert answer in ({1.0}, {2.0})
    assert blob == constant(answer.pop()), "the bytes and the loaded network differ"
