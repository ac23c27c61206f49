"""What follows `loadmodule`: what is wrong is named in the log, and the server does not start with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.servers import Module, ServerDiedError, StartServer, wait_until
from tests.integration.torchscript import adder

REFUSED = [
    (("NO_SUCH_ARGUMENT", "1"), "NO_SUCH_ARGUMENT"),
    (("THREADS_PER_QUEUE",), "THREADS_PER_QUEUE"),
    (("THREADS_PER_QUEUE", "many"), "THREADS_PER_QUEUE"),
    (("THREADS_PER_QUEUE", "0"), "THREADS_PER_QUEUE"),
    (("THREADS_PER_QUEUE", "-1"), "THREADS_PER_QUEUE"),
    (("INTRA_OP_PARALLELISM", "-1"), "INTRA_OP_PARALLELISM"),
    (("INTER_OP_PARALLELISM", "x"), "INTER_OP_PARALLELISM"),
    (("MODEL_CHUNK_SIZE", "0"), "MODEL_CHUNK_SIZE"),
    (("MODEL_EXECUTION_TIMEOUT", "999"), "MODEL_EXECUTION_TIMEOUT"),
    (("BACKEND_MEMORY_LIMIT", "much"), "BACKEND_MEMORY_LIMIT"),
    (("ONNX_BACKEND", "TVM"), "ONNX_BACKEND"),
    (("AOTINDUCTOR", "1"), "AOTINDUCTOR"),
]


@pytest.mark.parametrize(("arguments", "named"), REFUSED, ids=str)
def test_a_wrong_argument_stops_the_server_and_is_named(
    start_server: StartServer, arguments: tuple[str, ...], named: str
) -> None:
    with pytest.raises(ServerDiedError) as caught:
        start_server(arguments=arguments)
    assert named in caught.value.log
    assert "crash" not in caught.value.log.lower()


def test_what_smartredis_own_launcher_passes_is_accepted(start_server: StartServer) -> None:
    """Paths of RedisAI's backends, in any case, among numbers."""
    arguments = ("TF", "/nowhere/tf.so", "tflite", "/nowhere/tflite.so", "ONNX", "/nowhere/onnx.so")
    numbers = ("threads_per_queue", "4", "intra_op_parallelism", "2", "inter_op_parallelism", "2")
    db = start_server(arguments=(*arguments, *numbers)).connect()
    store_model(db, "m", adder())
    put(db, "a", np.ones(2))
    execute(db, "m", ["a", "a"], ["b"])
    np.testing.assert_array_equal(get(db, "b"), [2.0, 2.0])


@pytest.mark.parametrize("name", ["TF", "tflite", "Onnx"])
def test_the_log_says_which_arguments_have_no_effect(start_server: StartServer, name: str) -> None:
    server = start_server(arguments=(name, "/nowhere/backend.so", "THREADS_PER_QUEUE", "1"))
    assert f"{name.upper()} is accepted for RedisAI's sake and has no effect" in server.log()
    assert "THREADS_PER_QUEUE is accepted" not in server.log()


@pytest.mark.parametrize("kind", ["TF", "TFLITE", "ONNX"])
def test_a_package_that_is_not_there_is_named_when_such_a_model_arrives(
    start_server: StartServer, module: Module, kind: str
) -> None:
    """Tensors and models of other kinds are served all the same."""
    arguments = ("OPENVINO", "/nowhere/backend_openvino.so", "ONNX_BACKEND", "OPENVINO")
    db = start_server(arguments=arguments).connect()
    names = ("INPUTS", 1, "a", "OUTPUTS", 1, "b") if kind == "TF" else ()
    text = refusal(db, "AI.MODELSTORE", "m", kind, "CPU", *names, "BLOB", b"x")
    assert "/nowhere/backend_openvino.so" in text
    assert "pip install openvino" in text
    assert refusal(db, "AI.CONFIG", "LOADBACKEND", kind, "/elsewhere.so") == "error loading backend"
    store_model(db, "m", adder())
    put(db, "a", np.ones(2))
    execute(db, "m", ["a", "a"], ["b"])
    np.testing.assert_array_equal(get(db, "b"), [2.0, 2.0])


def test_a_backend_that_is_not_there_is_named_when_it_is_needed(
    start_server: StartServer, module: Module
) -> None:
    """The server serves tensors without any backend."""
    arguments = replaced(module, "TORCH", "/nowhere/backend_torch.so")
    db = start_server(modules=(arguments,)).connect()
    put(db, "t", np.ones(2))
    assert "/nowhere/backend_torch.so" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", adder())
    assert db.exists("m") == 0
    np.testing.assert_array_equal(get(db, "t"), np.ones(2))


def test_torch_libraries_that_are_not_there_are_named_when_needed(
    start_server: StartServer, module: Module
) -> None:
    db = start_server(modules=(replaced(module, "TORCH_LIBRARIES", "/nowhere/lib"),)).connect()
    assert "/nowhere/lib" in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", adder())
    assert db.ping()


def test_who_gives_no_libraries_is_told_how(start_server: StartServer, module: Module) -> None:
    """As a bare `loadmodule` with the file alone does."""
    alone = Module(module.path)
    db = start_server(modules=(alone,)).connect()
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", adder())
    assert "libtorch" in text or "libc10" in text
    assert "the load argument TORCH_LIBRARIES names the folder of torch's libraries" in text
    assert db.ping()


def test_a_module_built_for_another_torch_is_refused_with_both_versions(
    start_server: StartServer, module: Module
) -> None:
    built = argument(module, "TORCH_VERSION")
    server = start_server(modules=(replaced(module, "TORCH_VERSION", "2.5.1+cpu"),))
    db = server.connect()
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", adder())
    assert "2.5.1" in text
    assert built.split("+")[0] in text
    assert db.exists("m") == 0
    assert "2.5.1" in server.log()


def test_preload_opens_the_backend_before_any_model(start_server: StartServer) -> None:
    server = start_server(arguments=("PRELOAD", "TORCH"))
    wait_until(lambda: _has_mapped(server.pid, "libtorch_cpu"), "libtorch to be opened in the background")


def test_without_preload_a_server_of_tensors_stays_light(start_server: StartServer) -> None:
    server = start_server()
    put(server.connect(), "t", np.ones(1000))
    assert not _has_mapped(server.pid, "libtorch")


def test_preload_of_an_unknown_backend_is_refused(start_server: StartServer) -> None:
    with pytest.raises(ServerDiedError, match="PRELOAD"):
        start_server(arguments=("PRELOAD", "PORCH"))


def argument(module: Module, name: str) -> str:
    return module.arguments[module.arguments.index(name) + 1]


def replaced(module: Module, name: str, value: str) -> Module:
    """Return the module with one load argument changed."""
    words = list(module.arguments)
    words[words.index(name) + 1] = value
    return Module(module.path, tuple(words))


def _has_mapped(pid: int, library: str) -> bool:
    return library in Path(f"/proc/{pid}/maps").read_text()


def test_the_module_cannot_be_taken_out_with_its_tensors(start_server: StartServer) -> None:
    db = start_server().connect()
    put(db, "t", np.ones(2))
    assert refusal(db, "MODULE", "UNLOAD", "ai")
    np.testing.assert_array_equal(get(db, "t"), np.ones(2))


def test_a_backend_file_built_for_another_torch_is_refused(
    start_server: StartServer, module: Module, tmp_path: Path
) -> None:
    """The same file with another version in its marker, as an older build would have it."""
    version = argument(module, "TORCH_VERSION").split("+")[0]
    marker = b"PENSTOCK_BUILT_FOR="
    built = Path(argument(module, "TORCH")).read_bytes()
    assert built.count(marker + version.encode()) >= 1
    older = "9" * version.index(".") + version[version.index(".") :]
    file = tmp_path / "backend_torch.so"
    file.write_bytes(built.replace(marker + version.encode(), marker + older.encode()))
    db = start_server(modules=(replaced(module, "TORCH", str(file)),)).connect()
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", adder())
    assert older in text
    assert version in text
    assert "penstock build" in text
    assert db.ping()


@pytest.mark.parametrize(
    "content", [b"", b"no library", b"\x7fELF" + bytes(500)], ids=["empty", "text", "elf"]
)
def test_a_backend_file_that_is_no_backend_is_named(
    start_server: StartServer, module: Module, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "backend_torch.so"
    file.write_bytes(content)
    db = start_server(modules=(replaced(module, "TORCH", str(file)),)).connect()
    assert str(file) in refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", adder())
    put(db, "t", np.ones(2))
    assert db.exists("m") == 0
