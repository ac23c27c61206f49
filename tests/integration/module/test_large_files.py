"""Large model files lie on disk: the server's memory holds the network, not the file beside it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, store_model
from tests.integration.servers import RedisServer, StartServer, free_port, wait_in_step, wait_until
from tests.integration.torchscript import heavy

MEGABYTE = 1 << 20
LARGE_MB = 96


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the files, on a disk."""
    kinds = {fields[1]: fields[2] for fields in map(str.split, Path("/proc/mounts").read_text().splitlines())}
    mounts = [mount for mount in kinds if tmp_path.is_relative_to(mount)]
    if kinds[max(mounts, key=len)] == "tmpfs":
        pytest.skip(f"{tmp_path} is in memory")
    return tmp_path


@pytest.fixture
def server(start_server: StartServer, folder: Path) -> RedisServer:
    """A server that keeps large files there, with torch opened."""
    server = start_server(arguments=("MODEL_FILES", str(folder)))
    store_model(server.connect(), "warm", heavy(1))
    return server


def resident_kb(server: RedisServer, what: str) -> int:
    """VmRSS now, or VmHWM, its peak since it was last forgotten."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def forget_peak(server: RedisServer) -> None:
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")


def used_bytes(db: redis.Redis) -> int:
    return int(db.info("memory")["used_memory"])


def loaded(db: redis.Redis, key: str) -> None:
    """Run a model once: its answer comes when it has been loaded."""
    put(db, "x", np.ones(1, np.float32))
    execute(db, key, ["x"], ["y"])


def test_a_store_takes_the_memory_of_one_network(server: RedisServer) -> None:
    db = server.connect()
    blob = heavy(LARGE_MB)
    before = resident_kb(server, "VmRSS")
    forget_peak(server)
    store_model(db, "m", blob)
    loaded(db, "m")
    assert (resident_kb(server, "VmHWM") - before) * 1024 < 1.5 * len(blob)
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == blob


def test_the_memory_it_takes_is_the_network_s(server: RedisServer) -> None:
    db = server.connect()
    before = used_bytes(db)
    store_model(db, "m", heavy(LARGE_MB))
    loaded(db, "m")
    usage = db.memory_usage("m")
    assert usage is not None
    assert LARGE_MB * MEGABYTE <= usage < 1.1 * LARGE_MB * MEGABYTE
    wait_until(
        lambda: used_bytes(db) - before < 1.2 * LARGE_MB * MEGABYTE, "what brought the file to be freed"
    )


def test_a_file_on_disk_is_saved_copied_and_loaded_again(server: RedisServer) -> None:
    db = server.connect()
    blob = heavy(LARGE_MB)
    store_model(db, "m", blob)
    loaded(db, "m")
    assert db.copy("m", "other")
    db.execute_command("AI.MODELDEL", "m")
    server.restart("SAVE")
    db = server.connect()
    assert db.execute_command("AI.MODELGET", "other", "BLOB") == blob
    loaded(db, "other")
    assert get(db, "y").tolist() == [2.0]


def test_it_has_no_name_and_ends_with_its_model(server: RedisServer, folder: Path) -> None:
    db = server.connect()
    store_model(db, "m", heavy(LARGE_MB))
    loaded(db, "m")
    assert [path.name for path in folder.iterdir() if path.name.startswith("penstock-model")] == []
    assert len(files_mapped(server, folder)) == 1
    db.execute_command("AI.MODELDEL", "m")
    wait_until(lambda: files_mapped(server, folder) == [], "the file to be given up with its model")


def files_mapped(server: RedisServer, folder: Path) -> list[str]:
    maps = Path(f"/proc/{server.pid}/maps").read_text().splitlines()
    return [line for line in maps if str(folder) in line and "(deleted)" in line]


@pytest.mark.parametrize("how", ["no such folder", "no room", "memory"])
def test_what_cannot_be_on_disk_stays_in_memory(start_server: StartServer, folder: Path, how: str) -> None:
    where = {"no such folder": "/not/there", "memory": "memory"}.get(how, str(folder))
    server = start_server(arguments=("MODEL_FILES", where))
    if how == "no room":
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (MEGABYTE, resource.RLIM_INFINITY))
    db = server.connect()
    blob = heavy(LARGE_MB)
    store_model(db, "m", blob)
    loaded(db, "m")
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == blob
    assert ("stays in memory" in server.log()) == (how != "memory")
    assert os.path.exists(f"/proc/{server.pid}"), "the server has ended"  # noqa: PTH110


def test_a_replica_gets_the_whole_file(start_server: StartServer, folder: Path) -> None:
    """What is replicated when the store ends is fetched from the disk."""
    port = free_port()
    on_disk = ("MODEL_FILES", str(folder))
    master = start_server(arguments=on_disk, port=port, options={"repl-diskless-sync-delay": "0"}).connect()
    replica = start_server(arguments=on_disk, options={"replicaof": f"127.0.0.1 {port}"}).connect()
    wait_until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica to be in step")
    blob = heavy(LARGE_MB)
    store_model(master, "m", blob)
    wait_in_step(master, replica)
    assert replica.execute_command("AI.MODELGET", "m", "BLOB") == blob


def test_the_append_only_file_gets_the_whole_file(start_server: StartServer, folder: Path) -> None:
    on_disk = ("MODEL_FILES", str(folder))
    options = {"appendonly": "yes", "aof-use-rdb-preamble": "no", "appendfsync": "no"}
    server = start_server(arguments=on_disk, options=options)
    blob = heavy(LARGE_MB)
    store_model(server.connect(), "m", blob)
    server.restart("NOSAVE")
    db = server.connect()
    assert db.execute_command("AI.MODELGET", "m", "BLOB") == blob
    loaded(db, "m")
    assert get(db, "y").tolist() == [2.0]
