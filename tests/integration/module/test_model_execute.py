"""AI.MODELEXECUTE: right answers for every dtype and shape, one clear error for everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis
import torch

from tests.integration.ai_commands import TYPES, execute, get, info, put, refusal, store_model
from tests.integration.torchscript import adder, forward, identity, sum_and_difference, torchscript

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

REFUSED_RUNS = [
    ("wrong number of arguments for 'AI.MODELEXECUTE' command", ()),
    ("wrong number of arguments for 'AI.MODELEXECUTE' command", ("m", "INPUTS", 2, "a", "b", "OUTPUTS")),
    ("INPUTS not specified", ("m", "timeout", 1000, "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c")),
    ("Invalid argument for input_count", ("m", "INPUTS", "not_a_number", "a", "b", "OUTPUTS", 1, "c")),
    ("Input count must be a positive integer", ("m", "INPUTS", 0, "a", "b", "OUTPUTS", 1, "c")),
    ("Input count must be a positive integer", ("m", "INPUTS", -1, "a", "b", "OUTPUTS", 1, "c")),
    ("OUTPUTS not specified", ("m", "INPUTS", 2, "a", "b", "NOT_OUTPUTS", 1, "c")),
    ("Invalid argument for output_count", ("m", "INPUTS", 2, "a", "b", "OUTPUTS", "not_a_number", "c")),
    ("Output count must be a positive integer", ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 0, "c")),
    (
        "number of output keys to AI.MODELEXECUTE command does not match the number of given arguments",
        ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 2, "c"),
    ),
    (
        "number of output keys to AI.MODELEXECUTE command does not match the number of given arguments",
        ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 1),
    ),
    (
        "Number of keys given as INPUTS here does not match model definition",
        ("m", "INPUTS", 1, "a", "OUTPUTS", 1, "c"),
    ),
    (
        "Number of keys given as INPUTS here does not match model definition",
        ("m", "INPUTS", 3, "a", "b", "a", "OUTPUTS", 1, "c"),
    ),
    ("No value provided for TIMEOUT", ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "TIMEOUT")),
    ("Invalid value for TIMEOUT", ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "TIMEOUT", -43)),
    ("Invalid value for TIMEOUT", ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "TIMEOUT", "soon")),
    ("Invalid argument: bad_arg", ("m", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "bad_arg")),
    (
        "tensor key is empty or in a different shard",
        ("m", "INPUTS", 2, "a", "nothing", "OUTPUTS", 1, "c"),
    ),
    (WRONG_TYPE, ("m", "INPUTS", 2, "a", "text", "OUTPUTS", 1, "c")),
    (WRONG_TYPE, ("m", "INPUTS", 2, "a", "m", "OUTPUTS", 1, "c")),
]

FAILING = {
    "raises": ("raise RuntimeError('the closure left its range')\nreturn x", "the closure left its range"),
    "asserts": ("assert bool((x < 0).all()), 'x must be negative'\nreturn x", "x must be negative"),
    "wrong matrix": ("return torch.mm(x, torch.ones([7, 3]))", ""),
    "no tensor": ("return 'text'", ""),
    "a list with a number": ("return {'a': x}", ""),
    "complex": ("return torch.complex(x, x)", ""),
}


@pytest.fixture
def inputs(db: redis.Redis) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    a = np.array([[2, 3], [2, 3]], np.float32)
    b = np.array([[2, 5], [-1, 3]], np.float32)
    put(db, "a", a)
    put(db, "b", b)
    return a, b


@pytest.mark.parametrize(("text", "arguments"), REFUSED_RUNS, ids=str)
@pytest.mark.usefixtures("inputs")
def test_refused_run_names_the_fault_and_writes_nothing(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    store_model(db, "m", adder())
    db.set("text", "no tensor")
    assert refusal(db, "AI.MODELEXECUTE", *arguments) == text
    assert db.exists("c") == 0


@pytest.mark.usefixtures("inputs")
def test_wrong_number_of_outputs_is_refused(db: redis.Redis) -> None:
    """TorchScript does not say how many outputs it has: it is known only after the run."""
    store_model(db, "m", adder())
    assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 2, "a", "b", "OUTPUTS", 2, "c", "d")
    assert db.exists("c", "d") == 0


@pytest.mark.parametrize("body", FAILING, ids=str)
def test_failing_run_gives_one_line_and_writes_nothing(db: redis.Redis, body: str) -> None:
    source, reason = FAILING[body]
    store_model(db, "m", forward(source))
    put(db, "x", np.ones((2, 2), np.float32))
    text = refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert reason in text
    assert db.exists("y") == 0
    assert info(db, "m")["errors"] == 1


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("a tensor of layout Sparse", "return x.to_sparse()"),
        ("a tensor of the device meta", "return x.to('meta')"),
    ],
)
def test_an_output_that_is_no_array_is_refused_by_name(db: redis.Redis, form: str, body: str) -> None:
    store_model(db, "m", forward(body))
    put(db, "x", np.ones(3, np.float32))
    assert form in refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
    assert db.exists("y") == 0


def test_wrong_shape_and_dtype_are_refused(db: redis.Redis) -> None:
    store_model(db, "m", forward("return torch.mm(x, torch.ones([3, 2]))"))
    put(db, "good", np.ones((5, 3), np.float32))
    put(db, "shape", np.ones((5, 4), np.float32))
    put(db, "rank", np.ones(3, np.float32))
    put(db, "dtype", np.ones((5, 3), np.int64))
    for key in ("shape", "rank", "dtype"):
        assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, key, "OUTPUTS", 1, "y")
        assert db.exists("y") == 0
    execute(db, "m", ["good"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.full((5, 2), 3.0, np.float32))


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4, 5), (1, 1, 1, 1, 1)], ids=str)
def test_every_dtype_and_shape_passes_through(db: redis.Redis, name: str, shape: tuple[int, ...]) -> None:
    """A 0-dimensional output comes back with shape (1,): SmartRedis refuses scalars."""
    x = np.random.default_rng(3).integers(0, 100, shape).astype(TYPES[name])
    store_model(db, "m", identity())
    put(db, "x", x)
    execute(db, "m", ["x"], ["y"])
    back = get(db, "y")
    assert back.dtype == x.dtype
    assert back.shape == (shape or (1,))
    assert back.tobytes() == x.tobytes()


@pytest.mark.parametrize("size", [8, 1001, 10_007, 1_000_003])
def test_large_inputs_are_aligned_and_whole(db: redis.Redis, size: int) -> None:
    """Held arguments start at odd addresses; a vectorised kernel must still see the right numbers."""
    rng = np.random.default_rng(size)
    store_model(db, "m", sum_and_difference())
    a, b = rng.standard_normal(size), rng.standard_normal(size)
    put(db, "a", a)
    put(db, "b", b)
    execute(db, "m", ["a", "b"], ["c", "d"])
    np.testing.assert_array_equal(get(db, "c"), a + b)
    np.testing.assert_array_equal(get(db, "d"), a - b)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return x.t()", lambda x: x.T),
        ("return x[:, ::2]", lambda x: x[:, ::2]),
        ("return x[1:]", lambda x: x[1:]),
        ("return x[0:1].expand(4, x.size(1))", lambda x: np.repeat(x[:1], 4, 0)),
        ("return x.sum()", lambda x: x.sum().reshape(1)),
        ("return [x + 1]", lambda x: x + 1),
        ("return (x + 1,)", lambda x: x + 1),
        ("return x > 2", None),
        ("return torch.zeros([0, 3])", lambda _: np.zeros((0, 3), np.float32)),
    ],
)
def test_views_lists_and_scalars_come_back_dense(db: redis.Redis, body: str, expected: Any) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    store_model(db, "m", forward(body))
    put(db, "x", x)
    assert execute(db, "m", ["x"], ["y"]) == b"OK"
    if expected is None:
        assert db.execute_command("AI.TENSORGET", "y") == [
            *(b"dtype", b"BOOL", b"shape", [3, 4], b"blob"),
            (x > 2).tobytes(),
        ]
    else:
        np.testing.assert_array_equal(get(db, "y"), expected(x))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_half_precision_outputs_are_widened_to_what_the_wire_carries(db: redis.Redis, name: str) -> None:
    store_model(db, "m", forward(f"return x.to(torch.{name})"))
    x = np.array([0.5, -1.25, 1024.0, 3.0], np.float32)  # each is exact in eight bits of mantissa
    put(db, "x", x)
    execute(db, "m", ["x"], ["y"])
    back = get(db, "y")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, x)


def test_weights_that_want_gradients_are_no_hindrance(db: redis.Redis) -> None:
    weight = torch.ones(2, requires_grad=True)
    source = "def forward(self, x):\n    return x * self.weight\n"
    store_model(db, "m", torchscript(source, {"weight": weight}))
    put(db, "x", np.array([3, 4], np.float32))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), [3, 4])


def test_inputs_may_repeat_and_be_overwritten(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    put(db, "a", np.array([1.0, 2.0]))
    execute(db, "m", ["a", "a"], ["a"])
    np.testing.assert_array_equal(get(db, "a"), [2.0, 4.0])


def test_a_run_does_not_write_into_its_input(db: redis.Redis) -> None:
    store_model(db, "m", forward("x.mul_(0)\nreturn x"))
    x = np.arange(1, 9, dtype=np.float32)
    put(db, "x", x)
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "x"), x)
    np.testing.assert_array_equal(get(db, "y"), np.zeros(8))


def test_outputs_overwrite_tensors_and_only_tensors(db: redis.Redis) -> None:
    store_model(db, "m", identity())
    put(db, "x", np.ones(3))
    put(db, "y", np.zeros((4, 4), np.int8))
    execute(db, "m", ["x"], ["y"])
    np.testing.assert_array_equal(get(db, "y"), np.ones(3))
    db.set("text", "keep me")
    assert refusal(db, "AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "text") == WRONG_TYPE
    assert db.get("text") == b"keep me"


def test_a_generous_timeout_changes_nothing(db: redis.Redis) -> None:
    """The value that SmartRedis sends."""
    store_model(db, "m", identity())
    put(db, "x", np.ones(3))
    assert execute(db, "m", ["x"], ["y"], "TIMEOUT", 60_000_000) == b"OK"


@pytest.mark.parametrize("timeout_ms", [2**63 - 1, 2**63 // 1_000_000, 10**12])
@pytest.mark.usefixtures("inputs")
def test_a_timeout_beyond_the_end_of_the_clock_is_none(db: redis.Redis, timeout_ms: int) -> None:
    store_model(db, "m", adder())
    assert execute(db, "m", ["a", "b"], ["c"], "TIMEOUT", timeout_ms) == b"OK"
    assert db.exists("c") == 1


def test_a_stored_model_is_usable_in_the_same_pipeline(db: redis.Redis) -> None:
    """Run right behind a store that is not answered yet: it waits for the load, it does not fail."""
    put(db, "x", np.ones(3))
    with db.pipeline(transaction=False) as pipeline:
        pipeline.execute_command("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", identity())
        pipeline.execute_command("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
        pipeline.execute_command("AI.TENSORGET", "y", "BLOB")
        assert pipeline.execute() == [b"OK", b"OK", np.ones(3).tobytes()]


def test_chained_runs_see_each_others_outputs(db: redis.Redis) -> None:
    store_model(db, "double", forward("return x * 2"))
    put(db, "v0", np.ones(2, np.float32))
    for i in range(30):
        execute(db, "double", [f"v{i}"], [f"v{i + 1}"])
    np.testing.assert_array_equal(get(db, "v30"), np.full(2, 2.0**30, np.float32))


def test_outputs_count_as_memory(db: redis.Redis) -> None:
    """Outputs that torch owns would be invisible to maxmemory."""
    size = 8 << 20
    store_model(db, "m", forward("return torch.zeros([8 << 20], dtype=torch.uint8)"))
    put(db, "x", np.ones(1))
    execute(db, "m", ["x"], ["warm"])
    before = int(db.info("memory")["used_memory"])
    execute(db, "m", ["x"], ["y"])
    others = 1 << 20  # buffers of clients come and go
    assert int(db.info("memory")["used_memory"]) - before >= size - others
    usage = db.memory_usage("y")
    assert usage is not None
    assert usage >= size
