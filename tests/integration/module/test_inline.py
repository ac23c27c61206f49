"""Tiny models run on the main thread, without waking a worker; what may take long never does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, store_model
from tests.integration.model_files import model_file
from tests.integration.module.long_runs import run_command
from tests.integration.servers import StartServer, wait_until
from tests.integration.torchscript import adder, burner, forward

RUNS = 200


def inline_runs(db: redis.Redis) -> int:
    """How many runs the main thread has done so far."""
    return int(db.info("modules")["ai_inline_runs"])


def run_until_inline(db: redis.Redis, run: Callable[[], object]) -> int:
    """Repeat a run until it is done on the main thread; return how often that was.

    A busy machine may make runs look long for a while: then workers do them, and it is tried again.
    """
    count = 0

    def several() -> bool:  # one soon after the other, or each would find its caches cold
        nonlocal count
        for _ in range(RUNS):
            before = inline_runs(db)
            run()
            count += 1
            if inline_runs(db) > before:
                return True
        return False

    wait_until(several, "a run on the main thread")
    return count


def test_a_tiny_model_comes_to_run_on_the_main_thread_with_the_same_answers(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    put(db, "a", np.arange(8, dtype=np.float32))
    before = inline_runs(db)
    runs = run_until_inline(db, lambda: execute(db, "m", ["a", "a"], ["y"]))
    assert runs > 1, "nobody has measured it"
    np.testing.assert_array_equal(get(db, "y"), 2 * np.arange(8))
    assert inline_runs(db) - before == 1
    assert (info(db, "m")["calls"], info(db, "m")["errors"]) == (runs, 0)


@pytest.mark.parametrize("why", ["a loop", "large inputs", "a script"])
def test_what_may_take_long_never_runs_on_the_main_thread(db: redis.Redis, why: str) -> None:
    put(db, "x", np.eye(4, dtype=np.float32))
    put(db, "rounds", np.array([1], np.int64))
    put(db, "large", np.ones(20_000, np.float32))
    store_model(db, "loop", burner())
    store_model(db, "adder", adder())
    db.execute_command("AI.SCRIPTSET", "script", "CPU", "SOURCE", "def f(x):\n    return x + 1\n")
    run_until_inline(db, lambda: execute(db, "adder", ["x", "x"], ["y"]))
    before = inline_runs(db)
    for _ in range(RUNS):
        if why == "a loop":
            execute(db, "loop", ["x", "rounds"], ["y"])
        elif why == "large inputs":
            execute(db, "adder", ["large", "large"], ["y"])
        else:
            db.execute_command("AI.SCRIPTRUN", "script", "f", "INPUTS", "x", "OUTPUTS", "y")
    assert inline_runs(db) == before


def test_errors_of_runs_on_the_main_thread_are_answered_and_counted(db: redis.Redis) -> None:
    store_model(db, "m", forward("return torch.gather(torch.arange(3), 0, x)"))
    put(db, "x", np.ones(8, np.int64))
    good = run_until_inline(db, lambda: execute(db, "m", ["x"], ["y"]))
    put(db, "x", np.full(8, 3, np.int64))

    def fail() -> None:
        with pytest.raises(redis.ResponseError, match="out of bounds"):
            execute(db, "m", ["x"], ["z"])

    bad = run_until_inline(db, fail)
    assert (info(db, "m")["calls"], info(db, "m")["errors"]) == (good + bad, bad)
    assert db.exists("z") == 0


def test_a_run_on_the_main_thread_overwrites_no_key_of_another_type(db: redis.Redis) -> None:
    store_model(db, "m", adder())
    put(db, "a", np.ones(8, np.float32))
    run_until_inline(db, lambda: execute(db, "m", ["a", "a"], ["y"]))
    db.set("text", "no tensor")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        execute(db, "m", ["a", "a"], ["text"])
    assert db.get("text") == b"no tensor"


def test_outputs_of_runs_on_the_main_thread_reach_the_append_only_file(start_server: StartServer) -> None:
    server = start_server(options={"appendonly": "yes"})
    db = server.connect()
    store_model(db, "m", forward("return x * 2"))
    put(db, "x", np.full(4, 21.0, np.float32))

    def run() -> None:
        db.delete("y")
        execute(db, "m", ["x"], ["y"])

    run_until_inline(db, run)
    server.restart("NOSAVE")
    np.testing.assert_array_equal(get(server.connect(), "y"), np.full(4, 42.0))


def test_a_run_that_would_have_to_wait_for_another_is_answered_with_its_output(
    start_server: StartServer,
) -> None:
    """OpenVINO runs one after another: a short run beside long ones of its model goes to the workers."""
    server = start_server(arguments=("ONNX_BACKEND", "OPENVINO"))
    db = server.connect()
    db.execute_command("AI.MODELSTORE", "m", "ONNX", "CPU", "BLOB", model_file("shift.onnx"))
    put(db, "small", np.arange(4, dtype=np.float32).reshape(2, 2))
    put(db, "large", np.ones((300_000, 2), np.float32))
    dag = (
        *("AI.DAGEXECUTE_RO", "LOAD", 1, "small", "|>"),
        *("AI.MODELEXECUTE", "m", "INPUTS", 1, "small", "OUTPUTS", 1, "y", "|>", "AI.TENSORGET", "y", "BLOB"),
    )
    for _ in range(20):
        for _ in range(60):  # known to be short
            execute(db, "m", ["small"], ["w"])
        expected = get(db, "w").tobytes()
        with ExitStack() as stack:
            others = [stack.enter_context(server.raw_socket()) for _ in range(3)]
            for number, other in enumerate(others):
                other.sendall(run_command("m", "large", output=f"large{number}") * 3)
            for _ in range(4):
                db.delete("y")
                execute(db, "m", ["small"], ["y"])
                assert get(db, "y").tobytes() == expected
                assert db.execute_command(*dag) == [b"OK", expected]
            for other in others:
                answers = b""
                while answers.count(b"\r\n") < 3:
                    answers += other.recv(100)
    assert server.is_alive()
