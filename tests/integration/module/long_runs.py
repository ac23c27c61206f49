"""Runs that take as long as a test wants, on sockets of their own, and clients side by side."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import redis

from tests.integration.ai_commands import execute, put, store_model
from tests.integration.servers import RedisServer, wait_until
from tests.integration.torchscript import burner, deaf

SIZE = 300


def resp(*words: str | bytes | int) -> bytes:
    """Return a command as it goes over the wire."""
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded)


def run_command(model: str, *inputs: str, output: str) -> bytes:
    return resp("AI.MODELEXECUTE", model, "INPUTS", len(inputs), *inputs, "OUTPUTS", 1, output)


def blocked_clients(db: redis.Redis) -> int:
    return int(db.info("clients")["blocked_clients"])


def has_answer(raw: socket.socket) -> bool:
    return bool(select.select([raw], [], [], 0)[0])


def rounds_for(db: redis.Redis, seconds: float) -> int:
    """Measure how many rounds of the burner this machine does in so many seconds, at its fastest."""
    put(db, "rounds", np.array([20], np.int64))
    fastest = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        execute(db, "burner", ["x", "rounds"], ["y"])
        fastest = min(fastest, time.perf_counter() - started)
    return max(1, int(20 * seconds / fastest))


def prepare_burner(db: redis.Redis, seconds: float) -> None:
    """Store the burner with inputs for a run of about so many seconds."""
    store_model(db, "burner", burner())
    put(db, "x", np.eye(SIZE, dtype=np.float32))
    put(db, "rounds", np.array([rounds_for(db, seconds)], np.int64))


@contextmanager
def long_run(server: RedisServer, db: redis.Redis, seconds: float = 1.5) -> Iterator[socket.socket]:
    """A run in flight on a socket of its own."""
    prepare_burner(db, seconds)
    with server.raw_socket() as raw:
        raw.sendall(run_command("burner", "x", "rounds", output="burned"))
        wait_until(lambda: blocked_clients(db) > 0 or has_answer(raw), "the run to begin")
        yield raw


@contextmanager
def stuck_run(server: RedisServer, db: redis.Redis) -> Iterator[socket.socket]:
    """A run in flight that goes on for hours, allocates nothing and looks at nothing."""
    store_model(db, "stuck", deaf())
    put(db, "x", np.eye(SIZE, dtype=np.float32))
    put(db, "hours", np.array([10**12], np.int64))
    with server.raw_socket() as raw:
        raw.sendall(run_command("stuck", "x", "hours", output="never"))
        wait_until(lambda: blocked_clients(db) > 0 or has_answer(raw), "the run to begin")
        yield raw


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
