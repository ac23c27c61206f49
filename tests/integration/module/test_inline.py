"""Tiny models run on the main thread, without waking a worker; what may take long never does."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, info, put, store_model
from tests.integration.model_files import model_file
from tests.integration.module.long_runs import run_command
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, burner, forward

RUNS = 200


def sleeps_of_workers(server: RedisServer) -> int:
    """How often the workers of the CPU's queue went to sleep so far."""
    count = 0
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        if (task / "comm").read_text().strip() == "ai-CPU":
            status = (task / "status").read_text()
            count += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return count


def runs_without_worker(server: RedisServer, db: redis.Redis, model: str, *inputs: str) -> int:
    """Run a model many times, one after another; return how many of those woke no worker, at least."""
    before = sleeps_of_workers(server)
    for _ in range(RUNS):
        execute(db, model, list(inputs), ["y"])
    return RUNS - (sleeps_of_workers(server) - before)


def test_a_tiny_model_comes_to_run_on_the_main_thread_with_the_same_answers(
    server: RedisServer, db: redis.Redis
) -> None:
    """A busy machine may make runs look long for a while: then workers do them, and it is tried again."""
    store_model(db, "m", adder())
    put(db, "a", np.arange(8, dtype=np.float32))
    wait_until(
        lambda: runs_without_worker(server, db, "m", "a", "a") > RUNS // 2, "runs on the main thread", 60
    )
    np.testing.assert_array_equal(get(db, "y"), 2 * np.arange(8))
    assert info(db, "m")["calls"] % RUNS == 0
    assert info(db, "m")["errors"] == 0


@pytest.mark.parametrize("why", ["a loop", "large inputs", "a script"])
def test_what_may_take_long_never_runs_on_the_main_thread(
    server: RedisServer, db: redis.Redis, why: str
) -> None:
    put(db, "x", np.eye(4, dtype=np.float32))
    put(db, "rounds", np.array([1], np.int64))
    put(db, "large", np.ones(20_000, np.float32))
    store_model(db, "loop", burner())
    store_model(db, "adder", adder())
    db.execute_command("AI.SCRIPTSET", "script", "CPU", "SOURCE", "def f(x):\n    return x + 1\n")
    before = sleeps_of_workers(server)
    for _ in range(RUNS):
        if why == "a loop":
            execute(db, "loop", ["x", "rounds"], ["y"])
        elif why == "large inputs":
            execute(db, "adder", ["large", "large"], ["y"])
        else:
            db.execute_command("AI.SCRIPTRUN", "script", "f", "INPUTS", "x", "OUTPUTS", "y")
    assert sleeps_of_workers(server) - before > RUNS // 2


def test_errors_of_runs_on_the_main_thread_are_answered_and_counted(
    server: RedisServer, db: redis.Redis
) -> None:
    store_model(db, "m", adder())
    put(db, "a", np.ones(8, np.float32))
    put(db, "b", np.ones(3, np.float32))
    put(db, "c", np.ones(1, np.float32))
    wait_until(
        lambda: runs_without_worker(server, db, "m", "a", "a") > RUNS // 2, "runs on the main thread", 60
    )
    calls = info(db, "m")["calls"]
    with pytest.raises(redis.ResponseError, match="must match the size"):
        execute(db, "m", ["a", "b"], ["y"])
    execute(db, "m", ["a", "c"], ["y"])
    assert (info(db, "m")["calls"] - calls, info(db, "m")["errors"]) == (2, 1)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        db.set("text", "no tensor")
        execute(db, "m", ["a", "a"], ["text"])


def test_outputs_of_runs_on_the_main_thread_reach_the_append_only_file(start_server: StartServer) -> None:
    server = start_server(options={"appendonly": "yes"})
    db = server.connect()
    store_model(db, "m", forward("return x * 2"))
    put(db, "x", np.ones(4, np.float32))
    wait_until(lambda: runs_without_worker(server, db, "m", "x") > RUNS // 2, "runs on the main thread", 60)
    put(db, "x", np.full(4, 21.0, np.float32))
    execute(db, "m", ["x"], ["y"])
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
