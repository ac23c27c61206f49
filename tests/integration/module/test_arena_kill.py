"""Clients that are killed in the middle of a write: nothing half-written is seen, no byte stays lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get
from tests.integration.module.arena_client import ArenaClient, arena, wait_for
from tests.integration.servers import RedisServer, StartServer

MEGABYTE = 1 << 20
VICTIM = Path(__file__).with_name("arena_victim.py")
SIZE = MEGABYTE + 1000
LATEST_KILL_S = 0.03


@contextmanager
def victims(server: RedisServer, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that put and map without an end, begun; killed when the block ends."""
    started = [
        subprocess.Popen(
            [sys.executable, "-ES", str(VICTIM), str(server.config.unix_socket), f"victim{i}", str(SIZE)],
            stdout=subprocess.PIPE,
        )
        for i in range(count)
    ]
    try:
        for victim in started:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"begun\n"
        yield started
    finally:
        for victim in started:
            victim.kill()
            victim.communicate()


def check_whole(db: redis.Redis) -> int:
    """Check that every tensor is of one value; returns how many there are."""
    keys = db.keys("victim*")
    for key in keys:
        tensor = get(db, key.decode())
        assert tensor.size == SIZE
        assert tensor.min() == tensor.max(), f"{key!r} was seen half-written"
    return len(keys)


def kill_at_random(server: RedisServer, rounds: int) -> None:
    dice = random.Random(20)
    db = server.connect()
    seen = 0
    for _ in range(rounds):
        with victims(server, 2) as running:
            time.sleep(dice.uniform(0, LATEST_KILL_S))  # at any moment of a put: what the test is about
            for victim in running:
                victim.kill()
            seen += check_whole(db)
        assert check_whole(db) <= 6
        db.flushall()
        wait_for(db, used=0, leased=0, pinned=0, quarantined=0, processes=0, waiting_clients=0)
    assert seen > 0


def test_fifty_are_killed(start_server: StartServer) -> None:
    kill_at_random(start_server(arguments=("ARENA", "16")), 25)


@pytest.mark.slow
def test_five_hundred_are_killed(start_server: StartServer) -> None:
    kill_at_random(start_server(arguments=("ARENA", "16")), 250)


def test_they_are_killed_while_they_wait(start_server: StartServer) -> None:
    """The arena has room for two leases and no more: each put waits for the other's keys to go."""
    server = start_server(arguments=("ARENA", "3"))
    db = server.connect()
    for _ in range(5):
        with victims(server, 2):
            wait_for(db, waiting_clients=2)
        db.flushall()
        wait_for(db, used=0, leased=0, pinned=0, quarantined=0, processes=0, waiting_clients=0)


def test_others_go_on_and_the_room_comes_back(start_server: StartServer) -> None:
    server = start_server(arguments=("ARENA", "16"))
    client = ArenaClient(server)
    with victims(server, 2):
        for step in range(50):
            client.put("own", np.full(SIZE, step, np.uint8))
            mapped, offset = client.map("own")
            assert mapped.min() == mapped.max() == step
            client.release(offset)
            assert check_whole(client.db) <= 6
    client.db.flushall()
    wait_for(client.db, used=0, processes=1)
    assert arena(client.db)["largest_free"] == 16 * MEGABYTE - 4096
