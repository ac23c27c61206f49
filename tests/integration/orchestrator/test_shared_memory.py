"""A deployment shares its memory with the programs on its host, and says how much."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator import Application, Experiment, Orchestrator, RedisConfig, colocate
from orchestrator.errors import UsageError
from sim_clients.identity import Identity
from sim_clients.native_client import NativeClient
from sim_clients.native_library import built_library

MEGABYTE = 1 << 20
ROOT = Path(__file__).parents[3]
PROGRAM = """
import numpy as np
from sim_clients import connect
client = connect(client="native")
client.put_tensor("u", np.ones((512, 512)))
print(client.transport, client.map_tensor("u").sum())
"""


@pytest.fixture(autouse=True)
def native_library() -> Path:
    return built_library()


def transport_of(database: Orchestrator) -> tuple[str, int, int]:
    """Start a database, put 2 MB; return how they went, and the bytes that are shared and may be."""
    with Experiment("e") as exp:
        db = exp.start(database)
        client = NativeClient(db.address, Identity("heat", 0))
        try:
            client.put_tensor("u", np.ones((512, 512)))
            (node, *_) = db.status().nodes
            return client.transport, node.shared_bytes, node.shared_limit_bytes
        finally:
            client.close()


def test_a_private_database_shares_up_to_half_the_memory() -> None:
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") // 2
    assert transport_of(Orchestrator()) == ("shared memory", 2 * MEGABYTE, half // MEGABYTE * MEGABYTE)


def test_a_database_on_a_port_shares_what_it_is_told_to() -> None:
    assert transport_of(Orchestrator(port=0)) == ("tcp", 0, 0)
    sharing = Orchestrator(port=0, config=RedisConfig(shared_memory_mb=64))
    assert transport_of(sharing) == ("shared memory", 2 * MEGABYTE, 64 * MEGABYTE)


def test_one_with_a_limit_shares_what_it_is_told_to() -> None:
    limited = RedisConfig(maxmemory_bytes=256 * MEGABYTE)
    assert transport_of(Orchestrator(config=limited)) == ("unix", 0, 0)


def test_more_than_there_is_is_refused_before_anything_starts() -> None:
    with (
        Experiment("e") as exp,
        pytest.raises(UsageError, match=r"shared_memory_mb=999999999.*more than the memory of this host"),
    ):
        exp.start(Orchestrator(config=RedisConfig(shared_memory_mb=999_999_999)))


def test_a_colocated_program_shares_memory_with_its_database() -> None:
    program = Application("a", [sys.executable, "-c", PROGRAM], environment={"PYTHONPATH": str(ROOT)})
    with Experiment("e") as exp:
        job = exp.start(colocate(program, RedisConfig(shared_memory_mb=64)))
        exp.wait(job)
        assert "shared memory 262144.0" in job.log.read_text()
