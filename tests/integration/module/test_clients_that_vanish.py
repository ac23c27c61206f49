"""Clients that connect, ask and vanish, at every stage: nothing of theirs stays behind.

The short form is part of every test run; ten thousand vanish in the slow one.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import command_of, execute, get, put, store_model
from tests.integration.module.long_runs import blocked_clients, resp, run_command
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, burner, constant, endless

WAVE = 100
"""How many there are at a time."""
MEGABYTE = 1 << 20
OWN_FILES = 4
"""What a server may open meanwhile for itself, of its threads and libraries; each client has one."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset, as of a machine that lost its power."""
LATEST = """
import signal, socket, sys
sockets = []
for line in range(int(sys.argv[2])):
    one = socket.socket(socket.AF_UNIX)
    one.connect(sys.argv[1])
    one.sendall(bytes.fromhex(sys.argv[3]))
    sockets.append(one)
print("sent", flush=True)
signal.pause()
"""


def open_files(server: RedisServer) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def used_memory(db: redis.Redis) -> int:
    return int(db.info("memory")["used_memory"])


@pytest.fixture
def own(start_server: StartServer) -> RedisServer:
    """A server of the test's own with a fast model, a slow one and their inputs."""
    server = start_server(arguments=("THREADS_PER_QUEUE", "2"))
    db = server.connect()
    store_model(db, "adder", adder(), "BATCHSIZE", 16)
    store_model(db, "burner", burner())
    put(db, "x", np.ones((64, 64), np.float32))
    put(db, "rounds", np.array([300.0]))
    db.execute_command("AI.SCRIPTSET", "script", "CPU", "SOURCE", "def f(a):\n    return a * 2\n")
    execute(db, "adder", ["x", "x"], ["out"])
    db.execute_command("AI.SCRIPTRUN", "script", "f", "INPUTS", "x", "OUTPUTS", "out")
    db.close()
    return server


def requests(dice: random.Random) -> bytes:
    """Return what one client asks, one command or several."""
    key = f"k{dice.randrange(20)}"
    values = np.full(dice.choice([1, 1000, 60_000]), 1.0, np.float32)
    slow = resp("AI.MODELEXECUTE", "burner", "INPUTS", 2, "x", "rounds", "OUTPUTS", 1, key)
    choices = [
        resp(*command_of(key, values)),
        resp("AI.TENSORGET", "x", "META", "BLOB"),
        resp("AI.MODELEXECUTE", "adder", "INPUTS", 2, "x", "x", "OUTPUTS", 1, key),
        slow,
        slow * 3,
        resp("AI.MODELEXECUTE", "burner", "INPUTS", 2, "x", "rounds", "OUTPUTS", 1, key, "TIMEOUT", 1),
        resp("AI.MODELSTORE", f"m{dice.randrange(3)}", "TORCH", "CPU", "BLOB", constant(1.0)),
        resp("AI.SCRIPTRUN", "script", "f", "INPUTS", "x", "OUTPUTS", key),
        resp("AI.MODELGET", "burner", "META", "BLOB"),
        resp(
            *("AI.DAGEXECUTE", "LOAD", 1, "x", "PERSIST", 1, key, "|>"),
            *("AI.MODELEXECUTE", "adder", "INPUTS", 2, "x", "x", "OUTPUTS", 1, key),
            *("|>", "AI.TENSORGET", key, "META", "BLOB"),
        ),
        b"",
    ]
    return dice.choice(choices)


def vanish(server: RedisServer, dice: random.Random, count: int) -> None:
    """Let so many clients connect, ask, and leave in one of their ways, most before they are answered."""
    sockets: list[socket.socket] = []
    for _ in range(count):
        raw = server.raw_socket()
        sockets.append(raw)
        asked = requests(dice)
        stage = dice.randrange(4)
        raw.sendall(asked[: dice.randrange(len(asked) + 1)] if stage == 0 else asked)
        if stage == 1 and asked:
            raw.recv(dice.choice([1, 100]))  # part of the answer
        if stage == 2:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    dice.shuffle(sockets)
    for raw in sockets:
        raw.close()


def check_nothing_is_left(server: RedisServer, db: redis.Redis, files: int, memory: int) -> None:
    wait_until(lambda: len(db.client_list()) == 1, "every connection to be gone")
    wait_until(lambda: blocked_clients(db) == 0, "nobody to be waited for")
    wait_until(lambda: open_files(server) <= files + OWN_FILES, "every file to be closed")
    db.delete(*(f"k{i}" for i in range(20)), *(f"m{i}" for i in range(3)))
    wait_until(lambda: used_memory(db) < memory + MEGABYTE, "their memory to be given back")
    execute(db, "adder", ["x", "x"], ["sum"])
    np.testing.assert_array_equal(get(db, "sum"), np.full((64, 64), 2.0))
    db.delete("sum")


def let_vanish(server: RedisServer, waves: int) -> None:
    with server.connect() as db:
        vanish(server, random.Random(0), WAVE)  # what a server keeps once it has met clients
        wait_until(
            lambda: len(db.client_list()) == 1 and blocked_clients(db) == 0, "the first wave to be gone"
        )
        db.delete(*(f"k{i}" for i in range(20)), *(f"m{i}" for i in range(3)))
        files, memory = open_files(server), used_memory(db)
        for wave in range(waves):
            vanish(server, random.Random(wave + 1), WAVE)
        check_nothing_is_left(server, db, files, memory)


def test_five_hundred_clients_that_vanish(own: RedisServer) -> None:
    let_vanish(own, 5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_clients_that_vanish(own: RedisServer) -> None:
    let_vanish(own, 100)


def test_a_program_killed_with_many_runs_waiting(own: RedisServer) -> None:
    """Twenty connections of one process go at once, by SIGKILL, with their runs queued and under way."""
    with own.connect() as db:
        files = open_files(own)
        store_model(db, "endless", endless())
        run = run_command("endless", "x", output="k0")
        command = [sys.executable, "-c", LATEST, str(own.config.unix_socket), "20", run.hex()]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"sent\n"
            wait_until(lambda: blocked_clients(db) == 20, "all runs to be queued")
            os.kill(program.pid, signal.SIGKILL)
        wait_until(lambda: blocked_clients(db) == 0, "nobody to be waited for")
        wait_until(lambda: open_files(own) <= files + OWN_FILES, "every file to be closed")
        execute(db, "adder", ["x", "x"], ["sum"])
        np.testing.assert_array_equal(get(db, "sum"), np.full((64, 64), 2.0))
