"""The twelve defects of RedisAI that this module does not have, one by one.

Most are tested with the feature they belong to: the table says where, and fails when such a test goes away.
What has no other place is tested here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put
from tests.integration.servers import StartServer
from tests.integration.torchscript import forward, identity

HERE = Path(__file__).parent
ELSEWHERE = {
    "1 a store stalls every client": (
        "test_early_answer.py",
        "test_a_run_after_the_answer_waits_for_the_new_model",
    ),
    "2 a tensor is copied": ("test_tensor_memory.py", "test_redisai_defect_2_one_tensor_is_in_memory_once"),
    "3 a rewritten AOF loses scripts": (
        "test_persistence.py",
        "test_redisai_defect_3_aof_carries_everything",
    ),
    "4 memory is not counted": (
        "test_tensor_memory.py",
        "test_redisai_defect_4_memory_usage_counts_every_byte",
    ),
    "4 copies are not made": ("test_persistence.py", "test_redisai_defect_4_copy_makes_an_equal_value"),
    "5 idle workers wake": ("test_availability.py", "test_redisai_defect_5_idle_workers_sleep"),
    "9 work of those who left runs": (
        "test_availability.py",
        "test_redisai_defect_9_work_of_a_client_that_went_away_is_dropped",
    ),
    "12 a server does not leave": (
        "test_availability.py",
        "test_redisai_defect_12_the_server_leaves_when_told_in_the_middle_of_a_run",
    ),
}
NEW_TYPES = {"UINT32": np.uint32, "UINT64": np.uint64, "FLOAT16": np.float16, "BFLOAT16": np.uint16}


@pytest.mark.parametrize("defect", ELSEWHERE)
def test_each_defect_has_its_test(defect: str) -> None:
    file, name = ELSEWHERE[defect]
    tree = ast.parse((HERE / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_redisai_defect_6_an_output_without_rows_kills_nobody(db: redis.Redis) -> None:
    """RedisAI divided by the first dimension of an output."""
    blob = forward("return torch.zeros([0, 3])")
    db.execute_command("AI.MODELSTORE", "m", "TORCH", "CPU", "BATCHSIZE", 4, "BLOB", blob)
    put(db, "x", np.ones((2, 3), np.float32))
    try:
        execute(db, "m", ["x"], ["y"])
    except redis.ResponseError as error:
        assert "batch size" in str(error)
    db.execute_command("AI.MODELSTORE", "n", "TORCH", "CPU", "BLOB", blob)
    execute(db, "n", ["x"], ["y"])
    assert get(db, "y").shape == (0, 3)


def test_redisai_defect_8_a_least_batch_without_a_timeout_ends(start_server: StartServer) -> None:
    """One request, where two are asked for and nobody says how long to wait."""
    db = start_server().connect()
    words = ("TORCH", "CPU", "BATCHSIZE", 8, "MINBATCHSIZE", 2, "BLOB", identity())
    db.execute_command("AI.MODELSTORE", "m", *words)
    put(db, "x", np.ones((1, 3), np.float32))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.ones((1, 3)))


@pytest.mark.parametrize("name", NEW_TYPES)
def test_redisai_defect_10_the_missing_types_are_there(db: redis.Redis, name: str) -> None:
    values = np.arange(6).astype(NEW_TYPES[name])
    assert db.execute_command("AI.TENSORSET", "t", name, 2, 3, "BLOB", values.tobytes()) == b"OK"
    assert db.execute_command("AI.TENSORGET", "t", "META", "BLOB") == [
        *(b"dtype", name.encode(), b"shape", [2, 3], b"blob", values.tobytes()),
    ]
