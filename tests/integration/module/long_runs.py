"""Runs that go on until the test lets them end, on sockets of their own, and clients side by side.

Nothing here guesses how long a run takes. A held run keeps the worker of its device from when it is seen to
have begun until the test ends or abandons it; what is queued meanwhile has not begun.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import redis

from tests.integration.ai_commands import execute, put, store_model
from tests.integration.servers import RedisServer, wait_until
from tests.integration.torchscript import deaf

BEGUN, END, HELD = "held:begun", "held:end", "held:output"
LOST = "does not end although it was canceled"
"""What the log says of a run that has been written off."""
HOLDER = """
def hold(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", keys[0], "1")
    while str(redis.execute("EXISTS", keys[1])) == "0":
        n = 0
        while n < 10000:  # leaves the server's lock to others
            n += 1
    return torch.ones([3])
"""


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


def statuses(server: RedisServer, name: str) -> list[dict[str, str]]:
    """Return what the system says of each thread of this name."""
    found = []
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has left meanwhile
            lines = (task / "status").read_text().splitlines()
            found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return [status for status in found if status["Name"] == name]


def thread_states(server: RedisServer, name: str) -> str:
    """Return a letter for each thread of this name: S sleeps; R runs, or would if it got a processor."""
    return "".join(status["State"][0] for status in statuses(server, name))


def sleeps(server: RedisServer, name: str) -> int:
    """How often the threads of this name have gone to sleep so far."""
    return sum(int(status["voluntary_ctxt_switches"]) for status in statuses(server, name))


def workers_sleep(server: RedisServer) -> bool:
    """Whether no worker of the CPU is in the middle of a run, one that was written off included."""
    return set(thread_states(server, "ai-CPU")) <= {"S"}


class HeldRun:
    """A run in flight that does not end by itself."""

    def __init__(self, db: redis.Redis, raw: socket.socket) -> None:
        self._db = db
        self._raw = raw

    def is_answered(self) -> bool:
        return has_answer(self._raw)

    def end(self) -> None:
        """Let it end, and wait for its answer."""
        self._db.set(END, "1")
        assert self._raw.recv(100) == b"+OK\r\n"

    def abandon(self) -> None:
        """Leave, which ends it too; also while the server's writes are paused."""
        self._raw.close()


@contextmanager
def held_run(server: RedisServer, db: redis.Redis) -> Iterator[HeldRun]:
    """A run that has begun on the CPU, and keeps its worker; it is abandoned in the end."""
    db.delete(BEGUN, END, HELD)
    db.execute_command("AI.SCRIPTSTORE", "holder", "CPU", "ENTRY_POINTS", 1, "hold", "SOURCE", HOLDER)
    with server.raw_socket() as raw:
        raw.sendall(resp("AI.SCRIPTEXECUTE", "holder", "hold", "KEYS", 2, BEGUN, END, "OUTPUTS", 1, HELD))
        wait_until(lambda: db.exists(BEGUN) == 1, "the run to begin")
        yield HeldRun(db, raw)


def store_stuck(db: redis.Redis) -> None:
    """Store the model and the inputs of a run that goes on for years, and looks at nothing meanwhile."""
    store_model(db, "stuck", deaf())
    put(db, "x", np.ones(3))
    put(db, "once", np.array([1], np.int64))
    put(db, "years", np.array([10**12], np.int64))
    for _ in range(5):  # what torch does for the first runs can be told to end
        execute(db, "stuck", ["x", "once"], ["y"])
    db.delete("y")


@contextmanager
def stuck_run(server: RedisServer, db: redis.Redis) -> Iterator[None]:
    """A run in flight that is about to be stuck, or is so already."""
    store_stuck(db)
    with server.raw_socket() as raw:
        raw.sendall(run_command("stuck", "x", "years", output="never"))
        wait_until(lambda: blocked_clients(db) > 0 and not workers_sleep(server), "the run to begin")
        yield


def lose_a_worker(server: RedisServer, leave: Callable[[], None]) -> None:
    """Have a run written off; `leave` begins one that is stuck and gives it up.

    One that was given up too early, before it was stuck, ends by itself: then it is done again.
    """

    def once() -> bool:
        leave()
        wait_until(lambda: LOST in server.log() or workers_sleep(server), "the run to end or be written off")
        return LOST in server.log()

    wait_until(once, "a run to be written off")


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
