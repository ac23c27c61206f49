"""The servers of the tests themselves: dead servers show their log, and none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cluster import SLOTS
from tests.integration.servers import (
    RedisServer,
    ServerBinary,
    ServerConfig,
    ServerDiedError,
    ShardCluster,
    free_port,
    shard_configs,
    wait_until,
)

DRIVER = """
import sys, time
from pathlib import Path
from tests.integration.servers import RedisServer, ServerBinary, ServerConfig
server = RedisServer(ServerConfig(ServerBinary("any", Path(sys.argv[1])), Path(sys.argv[2])))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    """A killed child of a killed parent may stay as a zombie until it is reaped."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_server_that_dies_at_start_shows_why(server_binary: ServerBinary, short_directory: Path) -> None:
    config = ServerConfig(server_binary, short_directory / "dies", options={"no-such-option": "1"})
    with pytest.raises(ServerDiedError, match="no-such-option"):
        RedisServer(config).start()


def test_a_taken_port_is_named(server_binary: ServerBinary, short_directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerDiedError, match=str(port)):
            RedisServer(ServerConfig(server_binary, short_directory / "taken", port=port)).start()


def test_the_end_of_the_block_ends_the_server(server_binary: ServerBinary, short_directory: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="in the block"),
        RedisServer(ServerConfig(server_binary, short_directory / "ends")) as server,
    ):
        pid = server.pid
        raise RuntimeError("in the block")
    assert not is_running(pid)


def test_a_killed_driver_takes_its_server_with_it(server_binary: ServerBinary, short_directory: Path) -> None:
    directory = short_directory / f"driver-{server_binary.name}"
    command = [sys.executable, "-c", DRIVER, str(server_binary.path), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pid = int(driver.stdout.readline())
        assert is_running(pid)
        os.kill(driver.pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), "the server to die with its driver")


def test_shards_serve_every_slot(server_binary: ServerBinary, short_directory: Path) -> None:
    configs = shard_configs(server_binary, short_directory / f"slots-{server_binary.name}", (), 3)
    with ShardCluster(configs) as cluster:
        with cluster.shards[0].connect() as connection:
            info = connection.execute_command("CLUSTER INFO")
        assert int(info["cluster_slots_ok"]) == SLOTS
        pids = [shard.pid for shard in cluster.shards]
    assert not any(is_running(pid) for pid in pids)


def test_free_ports_can_be_bound() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(TimeoutError, match="the moon"):
        wait_until(lambda: False, "the moon", timeout_s=0.02)
