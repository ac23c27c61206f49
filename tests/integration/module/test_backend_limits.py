"""A model that allocates without bound, or never ends, gets an error; the server lives."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, refusal, store_model
from tests.integration.model_files import store_onnx
from tests.integration.module.long_runs import resp, workers_sleep
from tests.integration.servers import Module, StartServer, wait_until
from tests.integration.torchscript import forward, heavy, torchscript

F32 = np.float32
HUGE = 1 << 34
"""Elements; more than these tests' limits, and more than there is."""

ENDLESS = {
    "allocating": forward("while True:\n    x = x + 1\nreturn x"),
    "in place": forward("while True:\n    x += 1\nreturn x"),
    "empty": forward("i = 0\nwhile i >= 0:\n    i = 1 - i\nreturn x + i"),
    "inner": forward("for i in range(3):\n    while True:\n        x = x * 1\nreturn x"),
}
GROWING = forward("l = [x]\nwhile True:\n    l.append(x.repeat(1 << 20))\nreturn l[0]")


def needs(module: Module, engine: str) -> None:
    if engine in module.arguments:
        return
    missing = f"there is no backend for {engine}: install its package"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def put_loop(db: redis.Redis) -> list[str]:
    """Store the inputs of an ONNX loop that goes on for ever, as good as."""
    put(db, "step", np.array([1], F32))
    put(db, "count", np.array(2**60, np.int64))
    db.execute_command("AI.TENSORSET", "again", "BOOL", "VALUES", 1)
    put(db, "start", np.array([0], F32))
    return ["step", "count", "again", "start"]


@pytest.fixture
def limited(start_server: StartServer, module: Module) -> Iterator[redis.Redis]:
    """A server whose backends may take 16 MB each."""
    needs(module, "ONNXRUNTIME")
    with start_server(
        arguments=("BACKEND_MEMORY_LIMIT", "16", "ONNX_BACKEND", "ONNXRUNTIME")
    ).connect() as db:
        yield db
        assert db.ping()


def test_an_onnx_run_above_the_limit_is_refused(limited: redis.Redis) -> None:
    store_onnx(limited, "m", "zeros")
    put(limited, "n", np.array([8 << 20], np.int64))
    text = refusal(limited, "AI.MODELEXECUTE", "m", "INPUTS", 1, "n", "OUTPUTS", 1, "y")
    assert "Onnxruntime memory limit exceeded, memory allocation failed." in text
    put(limited, "n", np.array([1 << 20], np.int64))
    for _ in range(20):  # what a run took is given back
        execute(limited, "m", ["n"], ["y"])
    assert get(limited, "y").shape == (1 << 20,)


def test_a_torch_run_above_the_limit_is_refused(limited: redis.Redis) -> None:
    store_model(limited, "m", forward("return torch.zeros([int(x[0])])"))
    put(limited, "x", np.array([8 << 20], np.int64))
    text = refusal(limited, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert "Torch memory limit exceeded, memory allocation failed." in text
    put(limited, "x", np.array([1 << 20], np.int64))
    for _ in range(20):
        execute(limited, "m", ["x"], ["y"])
    assert get(limited, "y").shape == (1 << 20,)


def test_models_count_against_the_limit(limited: redis.Redis) -> None:
    for key in ("a", "b", "c"):
        store_model(limited, key, heavy(4))
    text = refusal(limited, "AI.MODELSTORE", "d", "TORCH", "CPU", "BLOB", heavy(8, 2.0))
    assert "Torch memory limit exceeded" in text
    limited.delete("a", "b")
    wait_until(lambda: _stores(limited, "d", heavy(8, 3.0)), "the memory of deleted models to be given back")


def _stores(db: redis.Redis, key: str, blob: bytes) -> bool:
    try:
        store_model(db, key, blob)
    except redis.ResponseError:
        return False
    return True


@pytest.mark.parametrize("engine", ["TORCH", "ONNXRUNTIME"])
def test_maxmemory_bounds_a_run(start_server: StartServer, module: Module, engine: str) -> None:
    """Torch and onnxruntime allocate what the server does not count; it ends with an error all the same."""
    needs(module, engine)
    server = start_server(
        arguments=("ONNX_BACKEND", "ONNXRUNTIME"),
        options={"maxmemory": "64mb", "maxmemory-policy": "noeviction"},
    )
    db = server.connect()
    if engine == "TORCH":
        store_model(db, "m", GROWING)
        put(db, "x", np.ones(1, F32))
    else:
        store_onnx(db, "m", "zeros")
        put(db, "x", np.array([HUGE // 64], np.int64))
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert "more memory than maxmemory leaves to it" in text
    assert db.ping()


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_torch_run_ends_at_its_time(start_server: StartServer, kind: str) -> None:
    server = start_server(arguments=("MODEL_EXECUTION_TIMEOUT", "1000"))
    db = server.connect()
    store_model(db, "m", ENDLESS[kind])
    put(db, "x", np.ones(1, F32))
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert "Exiting due to terminate flag being set to true" in text
    wait_until(lambda: workers_sleep(server), "the run to end")


def test_an_endless_script_ends_when_its_client_leaves(start_server: StartServer) -> None:
    server = start_server()
    db = server.connect()
    source = (
        "def run(x):\n    redis.execute('SET', 'begun', '1')\n    while True:\n        x += 1\n    return x\n"
    )
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", source)
    put(db, "x", np.ones(1, F32))
    with server.raw_socket() as raw:
        raw.sendall(resp("AI.SCRIPTRUN", "s", "run", "INPUTS", "x", "OUTPUTS", "y"))
        wait_until(lambda: db.exists("begun") == 1 and not workers_sleep(server), "the run to begin")
    wait_until(lambda: workers_sleep(server), "the run to end")
    assert db.ping()


def test_an_endless_onnx_run_is_terminated(start_server: StartServer, module: Module) -> None:
    needs(module, "ONNXRUNTIME")
    server = start_server(arguments=("MODEL_EXECUTION_TIMEOUT", "1000", "ONNX_BACKEND", "ONNXRUNTIME"))
    db = server.connect()
    store_onnx(db, "m", "loop")
    inputs = put_loop(db)
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 4, *inputs, "OUTPUTS", 1, "y")
    assert "Exiting due to terminate flag being set to true" in text
    wait_until(lambda: workers_sleep(server), "the run to end")


def test_a_stored_model_says_what_it_takes(start_server: StartServer, module: Module) -> None:
    needs(module, "ONNXRUNTIME")
    db = start_server(arguments=("ONNX_BACKEND", "ONNXRUNTIME")).connect()
    store_onnx(db, "m", "matrix")
    file = 16_486
    assert db.memory_usage("m") > file + 64 * 64 * 4
    assert info(db, "m")["calls"] == 0


@pytest.mark.parametrize(
    "made",
    [
        "torch.sparse_coo_tensor(torch.tensor([[int(x[0]) * 9000000]]), x[:1], [3])",
        "torch.sparse_coo_tensor(torch.tensor([[int(x[0]) * -9]]), x[:1], [3])",
    ],
)
def test_an_array_that_reaches_beyond_its_memory_is_refused(db: redis.Redis, made: str) -> None:
    put(db, "x", np.ones(2, F32))
    store_model(db, "m", forward(f"return {made}.to_dense()"))
    text = refusal(db, *["AI.MODELEXECUTE", "m", "INPUTS", "1", "x", "OUTPUTS", "1", "y"])
    assert "indices" in text or "index" in text
    assert db.ping()


@pytest.mark.parametrize(
    "call",
    [
        "_sparse_coo_tensor_unsafe(torch.tensor([[0]]), x[:1], [3])",
        "_sparse_csr_tensor_unsafe(torch.tensor([0, 1]), torch.tensor([0]), x[:1], [1, 3])",
    ],
)
def test_an_operator_that_takes_indices_on_trust_is_refused(db: redis.Redis, call: str) -> None:
    blob = forward(f"return torch.ops.aten.{call}.to_dense()")
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert "checks nothing of what it is given, and is refused" in text


REACHING = {
    "a negative offset": (
        "def forward(self, w, i, o):\n    return torch.embedding_bag(w, i, o)[0]\n",
        [np.ones((4, 4), F32), np.array([0, 0, 0]), np.array([0, -500_000_000])],
    ),
    "offsets that decrease": (
        "def forward(self, w, i, o):\n    return torch.embedding_bag(w, i, o)[0]\n",
        [np.ones((4, 4), F32), np.array([0, 0, 0]), np.array([2, 0])],
    ),
    "an offset beyond the end": (
        "def forward(self, x, o):\n    return torch.segment_reduce(x, 'sum', offsets=o)\n",
        [np.ones((1, 4), F32), np.array([0, 100_000_000])],
    ),
    "a target that is no class": (
        "def forward(self, p, t, a, b):\n    return torch.ctc_loss(p.log_softmax(2), t, a, b)\n",
        [np.ones((5, 1, 4), F32), np.array([[2_000_000_000]]), np.array([5]), np.array([1])],
    ),
}


@pytest.mark.parametrize("kind", REACHING)
def test_inputs_that_reach_beyond_an_array_are_refused(db: redis.Redis, kind: str) -> None:
    source, arrays = REACHING[kind]
    names = [f"i{number}" for number in range(len(arrays))]
    for name, array in zip(names, arrays, strict=True):
        put(db, name, array)
    store_model(db, "m", torchscript(source))
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", len(names), *names, "OUTPUTS", 1, "y")
    assert "must be from 0 to" in text or "must not decrease" in text
    assert db.ping()


def test_inputs_that_stay_within_an_array_are_computed_with(db: redis.Redis) -> None:
    bags = torchscript("def forward(self, w, i, o):\n    return torch.embedding_bag(w, i, o, mode=0)[0]\n")
    store_model(db, "m", bags)
    put(db, "w", np.arange(8, dtype=F32).reshape(4, 2))
    put(db, "i", np.array([0, 1, 3]))
    put(db, "o", np.array([0, 2]))
    execute(db, "m", ["w", "i", "o"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.array([[2, 4], [6, 7]], F32))


@pytest.mark.parametrize("indices", ["_indices", "coalesce().indices"])
def test_the_indices_of_a_sparse_array_cannot_be_changed(db: redis.Redis, indices: str) -> None:
    made = "s = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), x[:1], [2, 2])\n"
    store_model(db, "m", forward(f"{made}s.{indices}().fill_(99999999)\nreturn s.to_dense()"))
    put(db, "x", np.ones(2, F32))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.array([[1, 0], [0, 0]], F32))


def test_a_server_that_evicts_makes_room_for_runs_and_models(start_server: StartServer) -> None:
    options = {"maxmemory": "150mb", "maxmemory-policy": "allkeys-lru"}
    with start_server(options=options).connect() as db:
        store_model(db, "warm", forward("return x.repeat(100, 1).sum(0)"))  # torch itself is not counted
        for number in range(200):
            db.set(f"other{number}", bytes(1_000_000))
        wait_until(lambda: db.info("memory")["used_memory"] > 140_000_000, "the server to be full")
        run = forward("return x.repeat(100, 1).sum(0)")  # takes 26 MB
        answers = [stored_and_run(db, blob) for blob in (*[run] * 10, heavy(24))]
        assert answers.count("OK") >= 7
        assert set(answers) <= {"OK", *EVICTED}


EVICTED = ("model key is empty", "tensor key is empty", "tensor key is empty or in a different shard")
"""Of an evicting server's choice are also what was stored a moment ago."""


def stored_and_run(db: redis.Redis, blob: bytes) -> str:
    try:
        put(db, "x", np.ones((1, 65536), F32))
        store_model(db, "m", blob)
        execute(db, "m", ["x"], ["y"])
    except redis.ResponseError as error:
        return str(error)
    return "OK"
