"""ONNX models, with OpenVINO and with onnxruntime: the same answers and the same words."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.model_files import model_file, store_onnx
from tests.integration.servers import Module, RedisServer, ServerBinary, ServerConfig
from tests.integration.torchscript import adder

F32 = np.float32


@pytest.fixture(scope="module", params=["OPENVINO", "ONNXRUNTIME"])
def onnx_server(
    request: pytest.FixtureRequest, server_binary: ServerBinary, module: Module, short_directory: Path
) -> Iterator[RedisServer]:
    """A server that runs ONNX models with one of the two libraries."""
    if request.param not in module.arguments:
        missing = f"there is no backend for {request.param}: install its package"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    loaded = module.with_arguments("ONNX_BACKEND", request.param, "THREADS_PER_QUEUE", "2")
    directory = short_directory / f"onnx-{server_binary.name}-{request.param}"
    with RedisServer(ServerConfig(server_binary, directory, (loaded,))) as server:
        yield server


@pytest.fixture
def db(onnx_server: RedisServer) -> Iterator[redis.Redis]:
    with onnx_server.connect() as connection:
        connection.flushall()
        yield connection
        assert connection.ping()


@pytest.mark.parametrize("rows", [1, 3, 0])
def test_any_number_of_rows(db: redis.Redis, rows: int) -> None:
    store_onnx(db, "m", "shift")
    x = np.arange(2 * rows, dtype=F32).reshape(rows, 2)
    put(db, "x", x)
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), x + np.array([1, 2], F32))


def test_two_outputs_in_their_order(db: redis.Redis) -> None:
    store_onnx(db, "m", "sum_and_difference")
    a, b = np.random.default_rng(0).standard_normal((2, 5, 2)).astype(F32)
    put(db, "a", a)
    put(db, "b", b)
    execute(db, "m", ["a", "b"], ["s", "d"])
    np.testing.assert_array_equal(get(db, "s"), a + b)
    np.testing.assert_array_equal(get(db, "d"), a - b)


def test_arithmetic_is_that_of_32_bits(db: redis.Redis) -> None:
    """Some processors multiply in bfloat16 unless they are told not to: that is wrong by percents."""
    store_onnx(db, "m", "matrix")
    x = np.random.default_rng(1).standard_normal((8, 64)).astype(F32)
    put(db, "x", x)
    execute(db, "m", ["x"], ["y"])
    w = np.random.default_rng(0).standard_normal((64, 64)).astype(F32)
    np.testing.assert_allclose(get(db, "y"), x @ w, rtol=1e-4, atol=1e-4)


def test_other_types(db: redis.Redis) -> None:
    store_onnx(db, "double", "double")
    store_onnx(db, "integer", "integer")
    put(db, "x", np.array([[1.5, -2.0]]))
    put(db, "i", np.array([[1, -(2**30)]], np.int64))
    execute(db, "double", ["x"], ["y"])
    execute(db, "integer", ["i"], ["j"])
    np.testing.assert_array_equal(get(db, "y"), [[3.0, -4.0]])
    np.testing.assert_array_equal(get(db, "j"), [[2, 1 - 2**30]])
    assert get(db, "j").dtype == np.int64


def test_an_output_without_rows_is_one(db: redis.Redis) -> None:
    store_onnx(db, "m", "from_the_tenth_row")
    put(db, "x", np.ones((3, 2), F32))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").shape == (0, 2)
    put(db, "x", np.ones((12, 2), F32))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").shape == (2, 2)


def test_a_scalar_output_has_one_dimension(db: redis.Redis) -> None:
    store_onnx(db, "m", "total")
    put(db, "x", np.ones((3, 2), F32))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [6.0]


def test_a_loop_is_run(db: redis.Redis) -> None:
    store_onnx(db, "m", "loop")
    put(db, "step", np.array([2], F32))
    put(db, "count", np.array(10, np.int64))
    db.execute_command("AI.TENSORSET", "again", "BOOL", "VALUES", 1)
    put(db, "start", np.array([1], F32))
    execute(db, "m", ["step", "count", "again", "start"], ["y"])
    assert get(db, "y").tolist() == [21.0]


def test_modelget_gives_the_file_and_the_names(db: redis.Redis) -> None:
    store_onnx(db, "m", "sum_and_difference")
    reply = db.execute_command("AI.MODELGET", "m")
    facts = dict(zip(reply[0::2], reply[1::2], strict=True))
    assert facts[b"backend"] == b"ONNX"
    assert facts[b"inputs"] == [b"a", b"b"]
    assert facts[b"outputs"] == [b"s", b"d"]
    assert facts[b"blob"] == model_file("sum_and_difference.onnx")


REFUSED_FILES = {
    b"": "No graph was found in the protobuf.",
    b"no model": "No graph was found in the protobuf.",
    model_file("frozen.pb"): "No graph was found in the protobuf.",
    model_file("shift.onnx")[:50]: "No graph was found in the protobuf.",
    model_file("external.onnx"): "Initializer tensors with external data is not allowed.",
    model_file("external_in_branch.onnx"): "Initializer tensors with external data is not allowed.",
}


@pytest.mark.parametrize("blob", REFUSED_FILES, ids=lambda blob: REFUSED_FILES[blob][:12] + str(len(blob)))
def test_a_file_that_is_no_model_is_refused(db: redis.Redis, blob: bytes) -> None:
    assert refusal(db, "AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob) == REFUSED_FILES[blob]
    assert db.exists("m") == 0


def test_a_graph_that_cannot_be_run_is_refused_when_it_is_stored(db: redis.Redis) -> None:
    """An operation nobody knows."""
    blob = model_file("shift.onnx").replace(b"Add", b"Odd")
    assert "Odd" in refusal(db, "AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", blob)


WAY_OUT = "Please fix either the inputs or the model."
REFUSED_INPUTS = {
    "rank": (np.ones(2, F32), f"Invalid rank for input: X Got: 1 Expected: 2 {WAY_OUT}"),
    "size": (
        np.ones((3, 3), F32),
        "Got invalid dimensions for input: X for the following indices"
        f"  index: 0 Got: 3 Expected: 2  {WAY_OUT}",
    ),
    "sizes": (
        np.ones((1, 7), F32),
        "Got invalid dimensions for input: X for the following indices"
        f"  index: 0 Got: 1 Expected: 2  index: 1 Got: 7 Expected: 3  {WAY_OUT}",
    ),
    "type": (
        np.ones((2, 3), np.int32),
        "Input tensor type doesn't match the type expected by the model definition",
    ),
}


@pytest.mark.parametrize("fault", REFUSED_INPUTS)
def test_an_input_that_does_not_fit_is_refused(db: redis.Redis, fault: str) -> None:
    array, text = REFUSED_INPUTS[fault]
    store_onnx(db, "m", "fixed")
    put(db, "x", array)
    assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y") == text
    put(db, "x", np.ones((2, 3), F32))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.full((2, 3), 2.0))


@pytest.mark.parametrize(
    ("inputs", "outputs", "which"), [(["x"], ["y", "z"], "INPUTS"), (["x", "x"], ["y"], "OUTPUTS")]
)
def test_another_number_of_tensors_is_refused(
    db: redis.Redis, inputs: list[str], outputs: list[str], which: str
) -> None:
    store_onnx(db, "m", "sum_and_difference")
    put(db, "x", np.ones((1, 2), F32))
    text = refusal(
        db, "AI.MODELEXECUTE", "m", "INPUTS", len(inputs), *inputs, "OUTPUTS", len(outputs), *outputs
    )
    assert text == f"Number of keys given as {which} here does not match model definition"


def test_many_runs_at_once_are_each_right(onnx_server: RedisServer, db: redis.Redis) -> None:
    store_onnx(db, "m", "matrix")
    w = np.random.default_rng(0).standard_normal((64, 64)).astype(F32)
    wrong: list[int] = []

    def run(seed: int) -> None:
        with onnx_server.connect() as mine:
            for i in range(20):
                x = np.random.default_rng(seed * 1000 + i).standard_normal((1 + i % 4, 64)).astype(F32)
                put(mine, f"x{seed}", x)
                execute(mine, "m", [f"x{seed}"], [f"y{seed}"])
                if not np.allclose(get(mine, f"y{seed}"), x @ w, rtol=1e-3, atol=1e-3):
                    wrong.append(i)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_beside_torch(db: redis.Redis) -> None:
    store_onnx(db, "o", "shift")
    store_model(db, "t", adder())
    put(db, "x", np.ones((1, 2), F32))
    execute(db, "o", ["x"], ["y"])
    execute(db, "t", ["y", "y"], ["z"])
    execute(db, "o", ["z"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), [[5.0, 8.0]])
