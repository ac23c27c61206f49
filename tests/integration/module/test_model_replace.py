"""Replacing a model under load: no run fails, no answer is older than the last acknowledged store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import redis

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.servers import RedisServer
from tests.integration.torchscript import constant

CLIENTS = 8
VERSIONS = 40


class Versions:
    """What the threads share: how far the storing has come."""

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.is_over = False


def run_all(*tasks: Callable[[], None]) -> list[BaseException]:
    """Run every task on a thread of its own, and return what they raised."""
    raised: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001  the thread's edge: handed to the test
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_no_run_fails_and_no_answer_is_stale(server: RedisServer, db: redis.Redis) -> None:
    versions = Versions()
    models = [constant(float(version)) for version in range(VERSIONS + 1)]
    store_model(db, "m", models[0])
    seen: list[set[int]] = [set() for _ in range(CLIENTS)]

    def store() -> None:
        try:
            with server.connect() as own:
                for version in range(1, VERSIONS + 1):
                    versions.sent = version
                    store_model(own, "m", models[version])
                    versions.acknowledged = version
        finally:
            versions.is_over = True

    def run(number: int) -> None:
        with server.connect() as own:
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

    raised = run_all(store, *(lambda n=n: run(n) for n in range(CLIENTS)))  # type: ignore[misc]
    assert not raised
    assert len(set.union(*seen)) >= 3, "the runs saw too few versions for this test to mean anything"


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
