"""TensorFlow and TFLite models, and OpenVINO in the server's process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.model_files import model_file, store_onnx
from tests.integration.servers import StartServer
from tests.integration.torchscript import adder

F32 = np.float32
A = np.array([[1, 2], [3, 4]], F32)
B = np.array([[5, 6], [7, 8]], F32)


def store_frozen(db: redis.Redis, key: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    names = ("INPUTS", len(inputs), *inputs, "OUTPUTS", len(outputs), *outputs)
    blob = model_file("frozen.pb")
    assert db.execute_command("AI.MODELSTORE", key, "TF", "CPU", *names, "BLOB", blob) == b"OK"


@pytest.fixture
def pair(db: redis.Redis) -> None:
    put(db, "a", A)
    put(db, "b", B)


@pytest.mark.usefixtures("pair")
def test_a_frozen_graph_computes_what_is_asked_for(db: redis.Redis) -> None:
    store_frozen(db, "m", ["a", "b"], ["mul"])
    execute(db, "m", ["a", "b"], ["c"])
    np.testing.assert_array_equal(get(db, "c"), A * B)


@pytest.mark.usefixtures("pair")
def test_names_say_the_order(db: redis.Redis) -> None:
    store_frozen(db, "m", ["b", "a:0"], ["sum", "mul"])
    put(db, "a", A[:1])
    put(db, "b", B[:1])
    execute(db, "m", ["a", "b"], ["s", "p"])
    np.testing.assert_array_equal(get(db, "s"), A[:1] + B[:1])
    np.testing.assert_array_equal(get(db, "p"), A[:1] * B[:1])
    reply = db.execute_command("AI.MODELGET", "m", "META")
    facts = dict(zip(reply[0::2], reply[1::2], strict=True))
    assert facts[b"inputs"] == [b"b", b"a:0"]
    assert facts[b"outputs"] == [b"sum", b"mul"]


REFUSED_GRAPHS = {
    "input": (
        "frozen.pb",
        ["a", "bad_input"],
        ["mul"],
        'Input node named "bad_input" not found in TF graph.',
    ),
    "output": ("frozen.pb", ["a", "b"], ["mult"], 'Output node named "mult" not found in TF graph'),
    "onnx": ("shift.onnx", ["a", "b"], ["mul"], "Invalid GraphDef"),
    "tflite": ("affine.tflite", ["a", "b"], ["mul"], "Invalid GraphDef"),
}


@pytest.mark.parametrize("fault", REFUSED_GRAPHS)
def test_a_graph_that_does_not_fit_is_refused(db: redis.Redis, fault: str) -> None:
    file, inputs, outputs, text = REFUSED_GRAPHS[fault]
    names = ("INPUTS", len(inputs), *inputs, "OUTPUTS", len(outputs), *outputs)
    assert refusal(db, "AI.MODELSTORE", "m", "TF", "CPU", *names, "BLOB", model_file(file)) == text
    assert db.exists("m") == 0


@pytest.mark.parametrize(
    "blob", [model_file("saved_model.pb"), b"PK\x03\x04" + bytes(100)], ids=["pb", "zip"]
)
def test_a_saved_model_is_refused_with_the_way_out(db: redis.Redis, blob: bytes) -> None:
    names = ("INPUTS", 1, "x", "OUTPUTS", 1, "y")
    text = refusal(db, "AI.MODELSTORE", "m", "TF", "CPU", *names, "BLOB", blob)
    assert "SavedModel" in text
    assert "convert_variables_to_constants_v2" in text


@pytest.mark.parametrize("rows", [1, 4])
def test_tflite(db: redis.Redis, rows: int) -> None:
    blob = model_file("affine.tflite")
    assert db.execute_command("AI.MODELSTORE", "m", "TFLITE", "CPU", "BLOB", blob) == b"OK"
    x = np.arange(2 * rows, dtype=F32).reshape(rows, 2)
    put(db, "x", x)
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), x * np.array([2, 4], F32) + 1)


@pytest.mark.parametrize(
    "blob", [b"", model_file("frozen.pb"), model_file("affine.tflite")[:300]], ids=["nothing", "tf", "half"]
)
def test_a_file_that_is_no_tflite_model_is_refused(db: redis.Redis, blob: bytes) -> None:
    text = refusal(db, "AI.MODELSTORE", "m", "TFLITE", "CPU", "BLOB", blob)
    assert "Failed to load model from buffer" in text


def test_no_file_is_left_behind(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    db = start_server().connect()
    store_frozen(db, "m", ["a", "b"], ["mul"])
    refusal(
        db,
        "AI.MODELSTORE",
        "n",
        "TF",
        "CPU",
        "INPUTS",
        1,
        "q",
        "OUTPUTS",
        1,
        "mul",
        "BLOB",
        model_file("frozen.pb"),
    )
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_is_named(db: redis.Redis) -> None:
    text = refusal(db, "AI.MODELSTORE", "m", "TFLITE", "GPU:1", "BLOB", model_file("affine.tflite"))
    assert "GPU:1" in text


@pytest.mark.parametrize("first", ["torch", "openvino"])
def test_beside_torch_whichever_comes_first(start_server: StartServer, first: str) -> None:
    server = start_server()
    db = server.connect()
    put(db, "a", A)
    stores = [lambda: store_model(db, "t", adder()), lambda: store_onnx(db, "o", "shift")]
    for store in stores if first == "torch" else reversed(stores):
        store()
        put(db, "a", A)
    for _ in range(3):
        execute(db, "t", ["a", "a"], ["c"])
        execute(db, "o", ["c"], ["d"])
    np.testing.assert_array_equal(get(db, "d"), 2 * A + np.array([1, 2], F32))
    assert server.shutdown("NOSAVE") == 0


def test_the_server_leaves_after_runs(start_server: StartServer) -> None:
    """OpenVINO's threads hold nothing up."""
    server = start_server(arguments=("THREADS_PER_QUEUE", "4"))
    db = server.connect()
    store_onnx(db, "o", "matrix")
    put(db, "x", np.ones((64, 64), F32))
    for _ in range(5):
        execute(db, "o", ["x"], ["y"])
    assert server.shutdown("NOSAVE") == 0
    assert "bye bye" in server.log()


def test_info_names_the_library_behind_each_kind(start_server: StartServer) -> None:
    db = start_server(arguments=("ONNX_BACKEND", "OPENVINO")).connect()
    assert "ai_ONNX_version" not in db.info("modules")
    store_onnx(db, "o", "shift")
    facts = db.info("modules")
    assert {facts[f"ai_{kind}_library"] for kind in ("TF", "TFLITE", "ONNX")} == {"OPENVINO"}
    assert str(facts["ai_ONNX_version"]).startswith("20")
    assert "ai_TORCH_version" not in facts
