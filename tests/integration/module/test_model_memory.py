"""What models and runs cost: replaced networks are freed, runs leave nothing, and a full server refuses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import execute, put, refusal, store_model
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, forward, heavy, torchscript

MEGABYTE = 1 << 20


def resident_bytes(server: RedisServer) -> int:
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def check_growth(server: RedisServer, most: int, times: int, step: Callable[[int], None]) -> None:
    """Repeat a step, a few times to warm up and then so many times: that takes so much memory at most.

    What is dropped is freed by a thread, which may lag behind.
    """
    for i in range(10):
        step(i)
    before = resident_bytes(server)
    for i in range(times):
        step(i)
    wait_until(lambda: resident_bytes(server) - before < most, f"growth below {most} bytes")


def used_bytes(db: redis.Redis) -> int:
    return int(db.info("memory")["used_memory"])


def test_a_loaded_network_counts_as_the_server_s_memory(db: redis.Redis) -> None:
    """The file and the network that was loaded from it; both are given back."""
    store_model(db, "warm", heavy(1))
    before = used_bytes(db)
    store_model(db, "m", heavy(16))
    assert used_bytes(db) - before > 31 * MEGABYTE
    assert db.execute_command("MEMORY", "USAGE", "m") > 31 * MEGABYTE
    db.execute_command("AI.MODELDEL", "m")
    wait_until(lambda: used_bytes(db) - before < 2 * MEGABYTE, "a deleted model's memory to be given back")


def test_a_network_above_maxmemory_is_refused(start_server: StartServer) -> None:
    """Its file has room, the network has not. In pieces: Redis keeps a buffer of the last argument's size."""
    with start_server(arguments=("MODEL_STORE_TIMEOUT", "60000")).connect() as db:
        store_model(db, "warm", heavy(1))
        db.config_set("maxmemory", used_bytes(db) + 60 * MEGABYTE)
        blob = heavy(40)
        pieces = [blob[start : start + MEGABYTE] for start in range(0, len(blob), MEGABYTE)]
        text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", *pieces)
        assert "more memory than maxmemory leaves" in text
        assert not db.exists("m")
        wait_until(lambda: stores(db, "m", heavy(8)), "the memory of the refused model to be given back")


def stores(db: redis.Redis, key: str, blob: bytes) -> bool:
    try:
        store_model(db, key, blob)
    except redis.exceptions.OutOfMemoryError:
        return False
    return True


def test_more_than_the_host_has_is_refused(db: redis.Redis) -> None:
    """Redis 6.2 gives memory or dies: a run must not ask it for what there is not."""
    store_model(db, "m", forward("return torch.zeros([int(x[0])])"))
    put(db, "x", np.array([1 << 43], np.int64))
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert "bytes of memory more" in text
    assert db.ping()


def test_models_for_which_there_was_no_memory_are_loaded_when_there_is(start_server: StartServer) -> None:
    """Loading begins as the server comes back: the first of them may be there before the limit is."""
    names = [f"m{number}" for number in range(3)]
    server = start_server()
    with server.connect() as db:
        for name in names:
            store_model(db, name, heavy(40))
        put(db, "x", np.ones(2, np.float32))
        db.save()
    server.restart()
    with server.connect() as db:
        db.config_set("maxmemory", used_bytes(db) + 20 * MEGABYTE)
        store_model(db, "probe", forward(f"return x + len([0] * {30 * MEGABYTE // 16})"))
        wait_until(lambda: not runs(db, "probe"), "the server to measure what is left")
        assert not all(runs(db, name) for name in names)
        db.config_set("maxmemory", 0)
        wait_until(lambda: runs(db, "probe"), "the server to measure its memory again")
        assert all(runs(db, name) for name in names)


def runs(db: redis.Redis, model: str) -> bool:
    try:
        return bool(execute(db, model, ["x"], ["y"]))
    except redis.ResponseError as error:
        assert "more memory than maxmemory leaves" in str(error)
        return False


def test_a_copy_that_is_never_run_keeps_nothing_that_was_deleted(db: redis.Redis) -> None:
    store_model(db, "warm", heavy(1))
    before = used_bytes(db)
    store_model(db, "m", heavy(16))
    db.copy("m", "copy")
    store_model(db, "m", heavy(1))
    taken = ("MEMORY", "USAGE", "copy")
    wait_until(lambda: db.execute_command(*taken) > 31 * MEGABYTE, "the copy to count its network")
    db.delete("m", "copy")
    wait_until(lambda: used_bytes(db) - before < 2 * MEGABYTE, "their memory to be given back")


def test_replaced_models_are_freed(server: RedisServer, db: redis.Redis) -> None:
    """Sixty times 8 MB are 480 MB of weights, and as much again of files."""
    blobs = [heavy(8), heavy(8, step=2.0)]

    def replace(i: int) -> None:
        store_model(db, "m", blobs[i % 2])

    check_growth(server, 160 * MEGABYTE, 60, replace)


def test_deleted_models_are_freed(server: RedisServer, db: redis.Redis) -> None:
    def store_and_delete(i: int) -> None:
        store_model(db, f"m{i}", heavy(8))
        db.execute_command("AI.MODELDEL", f"m{i}")

    check_growth(server, 160 * MEGABYTE, 60, store_and_delete)


@pytest.mark.parametrize("how", ["SYNC", "ASYNC"])
def test_flushed_models_are_freed(server: RedisServer, db: redis.Redis, how: str) -> None:
    """An asynchronous flush drops the last hold on a network from a thread of Redis' own."""

    def store_and_flush(i: int) -> None:
        store_model(db, f"m{i}", heavy(8))
        db.execute_command("FLUSHALL", how)

    check_growth(server, 160 * MEGABYTE, 60, store_and_flush)


def test_runs_leave_nothing(server: RedisServer, db: redis.Redis) -> None:
    """Four hundred runs with 2 MB in and 2 MB out are 1.6 GB."""
    store_model(db, "m", adder())
    put(db, "a", np.ones(2 * MEGABYTE // 8))
    check_growth(server, 64 * MEGABYTE, 400, lambda _: execute(db, "m", ["a", "a"], ["b"]))


def test_failing_runs_leave_nothing(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", forward("y = x + 1\nassert bool((y < 0).all()), 'no'\nreturn y"))
    put(db, "a", np.ones(2 * MEGABYTE // 8))
    words = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "a", "OUTPUTS", 1, "b")
    check_growth(server, 64 * MEGABYTE, 200, lambda _: refusal(db, *words))  # type: ignore[func-returns-value]


def test_memory_of_deleted_keys_is_given_back(start_server: StartServer) -> None:
    db = start_server().connect()
    before = int(db.info("memory")["used_memory"])
    store_model(db, "m", heavy(16))
    assert int(db.info("memory")["used_memory"]) > before + 16 * MEGABYTE
    db.execute_command("AI.MODELDEL", "m")
    wait_until(
        lambda: int(db.info("memory")["used_memory"]) < before + 2 * MEGABYTE,
        "the deleted model's memory to be given back",
    )


def test_runs_are_refused_when_memory_is_full(start_server: StartServer) -> None:
    db = start_server(options={"maxmemory": "64mb", "maxmemory-policy": "noeviction"}).connect()
    store_model(db, "m", forward("return torch.zeros([4 << 20], dtype=torch.uint8)"))
    put(db, "x", np.ones(1))
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        for i in range(40):
            execute(db, "m", ["x"], [f"y{i}"])
    assert 8 <= db.dbsize() <= 20
    db.delete(*(f"y{i}" for i in range(10)))
    wait_until(lambda: int(db.info("memory")["used_memory"]) < 56 * MEGABYTE, "newer servers to free them")
    execute(db, "m", ["x"], ["again"])


def sparse_identity(layout: str, size: int) -> torch.Tensor:
    place, ones = torch.arange(size), torch.ones(size)
    if layout == "COO":
        return torch.sparse_coo_tensor(torch.stack([place, place]), ones, (size, size), check_invariants=True)
    return torch.sparse_csr_tensor(torch.arange(size + 1), place, ones, (size, size), check_invariants=True)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
@pytest.mark.parametrize("layout", ["COO", "CSR"])
def test_a_network_with_a_sparse_array_is_counted(db: redis.Redis, layout: str) -> None:
    """torch throws when it is asked for such an array's bytes."""
    size = 10_000
    blob = torchscript("def forward(self, x):\n    return x + 1\n", {"weight": sparse_identity(layout, size)})
    store_model(db, "m", blob)
    usage = db.memory_usage("m")
    assert usage is not None
    assert usage >= len(blob) + size * (4 + 2 * 8)  # per element a float and two places
