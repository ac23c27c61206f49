"""What a running script may ask of the server it runs in: Redis commands and other models."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get, info, put, refusal, store_model
from tests.integration.module.long_runs import workers_sleep
from tests.integration.servers import RedisServer, StartServer, wait_until
from tests.integration.torchscript import adder, burner, constant, forward, sum_and_difference

SOURCE = """
def set_and_get(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", keys[0], args[0])
    return torch.tensor(int(str(redis.execute("GET", keys[0]))))

def counter(tensors: List[Tensor], keys: List[str], args: List[str]):
    for _ in range(3):
        redis.execute("INCRBY", keys[0], "2")
    return tensors[0]

def length_of_list(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("RPUSH", keys[0], args)
    return torch.tensor(len(redis.asList(redis.execute("LRANGE", keys[0], "0", "-1"))))

def store_number(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", keys[0], 0.1234567890123)
    return torch.ones([1])

def bad_command(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", keys[0])
    return torch.ones([1])

def wrong_type(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("GET", keys[0])
    return torch.ones([1])

def any_command(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute(args[0], args[1:])
    return torch.ones([1])

def run_model(tensors: List[Tensor], keys: List[str], args: List[str]):
    return redisAI.model_execute(keys[0], tensors, 1)

def run_model_of_two(tensors: List[Tensor], keys: List[str], args: List[str]):
    return redisAI.model_execute(keys[0], tensors, 2)

def run_model_of_conjugate(tensors: List[Tensor], keys: List[str], args: List[str]):
    return redisAI.model_execute(keys[0], [torch.complex(tensors[0], tensors[0]).conj()], 1)

def own_tensor_after_model(tensors: List[Tensor], keys: List[str], args: List[str]):
    x = torch.cat([tensors[0], tensors[0]])[1:3]
    redisAI.model_execute(keys[0], [x], 1)
    return x
"""
NAMES = [line.split("(")[0].removeprefix("def ") for line in SOURCE.splitlines() if line.startswith("def ")]


@pytest.fixture(autouse=True)
def script(db: redis.Redis) -> None:
    command = ("s", "CPU", "ENTRY_POINTS", len(NAMES), *NAMES, "SOURCE", SOURCE)
    assert db.execute_command("AI.SCRIPTSTORE", *command) == b"OK"
    put(db, "a", np.array([2.0, 3.0], np.float32))
    put(db, "b", np.array([10.0, 20.0], np.float32))


def call(function: str, rest: str) -> list[str]:
    """Return the words of a call, the rest given as one line."""
    return ["AI.SCRIPTEXECUTE", "s", function, *rest.split()]


def test_a_script_sets_and_gets(db: redis.Redis) -> None:
    db.execute_command(*call("set_and_get", "KEYS 1 k ARGS 1 17 OUTPUTS 1 out"))
    assert get(db, "out").tolist() == [17]
    assert db.get("k") == b"17"


def test_a_script_counts(db: redis.Redis) -> None:
    db.execute_command(*call("counter", "KEYS 1 k INPUTS 1 a OUTPUTS 1 out"))
    assert db.get("k") == b"6"


def test_a_list_of_strings_is_spread_into_words(db: redis.Redis) -> None:
    db.execute_command(*call("length_of_list", "KEYS 1 l ARGS 3 x y z OUTPUTS 1 out"))
    assert get(db, "out").tolist() == [3]
    assert db.lrange("l", 0, -1) == [b"x", b"y", b"z"]


def test_a_number_is_stored_with_all_its_digits(db: redis.Redis) -> None:
    db.execute_command(*call("store_number", "KEYS 1 k OUTPUTS 1 out"))
    stored = db.get("k")
    assert stored is not None
    assert float(stored) == 0.1234567890123


@pytest.mark.parametrize("function", ["bad_command", "wrong_type"])
def test_an_error_of_redis_is_the_scripts_error(db: redis.Redis, function: str) -> None:
    db.hset("k", "field", "value")
    text = refusal(db, *call(function, "KEYS 1 k OUTPUTS 1 out"))
    assert "Redis command returned an error" in text
    assert ("WRONGTYPE" in text) == (function == "wrong_type")
    assert db.exists("out") == 0


def test_a_script_runs_a_model_on_the_same_queue(db: redis.Redis) -> None:
    """One worker serves both: waiting for itself would be for ever."""
    store_model(db, "m", adder())
    db.execute_command(*call("run_model", "KEYS 1 m INPUTS 2 a b OUTPUTS 1 out"))
    np.testing.assert_array_equal(get(db, "out"), [12.0, 23.0])


def test_a_script_runs_a_model_with_two_outputs(db: redis.Redis) -> None:
    store_model(db, "m", sum_and_difference())
    db.execute_command(*call("run_model_of_two", "KEYS 1 m INPUTS 2 a b OUTPUTS 2 out d"))
    np.testing.assert_array_equal(get(db, "out"), [12.0, 23.0])
    np.testing.assert_array_equal(get(db, "d"), [-8.0, -17.0])


def test_a_model_gets_what_a_script_put_off_computing(db: redis.Redis) -> None:
    store_model(db, "m", forward("return torch.imag(x).clone()"))
    db.execute_command(*call("run_model_of_conjugate", "KEYS 1 m INPUTS 1 a OUTPUTS 1 y"))
    np.testing.assert_array_equal(get(db, "y"), np.array([-2.0, -3.0], np.float32))


def test_a_model_does_not_write_into_a_scripts_tensor(db: redis.Redis) -> None:
    store_model(db, "m", forward("x += 100\nreturn x"))
    db.execute_command(*call("own_tensor_after_model", "KEYS 1 m INPUTS 1 a OUTPUTS 1 y"))
    np.testing.assert_array_equal(get(db, "y"), np.array([3.0, 2.0], np.float32))


def test_a_model_that_a_script_runs_counts_in_its_statistics(db: redis.Redis) -> None:
    source = "assert bool((x > 0).all())\nreturn x"
    store_model(db, "m", forward(source))
    for _ in range(3):
        db.execute_command(*call("run_model", "KEYS 1 m INPUTS 1 a OUTPUTS 1 out"))
    put(db, "negative", -np.ones(4, np.float32))
    assert refusal(db, *call("run_model", "KEYS 1 m INPUTS 1 negative OUTPUTS 1 out"))
    facts = info(db, "m")
    assert (facts["calls"], facts["errors"], facts["samples"]) == (4, 1, 6)
    assert info(db, "s")["calls"] == 4


def test_the_timeout_of_a_script_ends_the_model_it_runs(server: RedisServer, db: redis.Redis) -> None:
    store_model(db, "m", burner())
    put(db, "x", np.eye(100, dtype=np.float32))
    put(db, "rounds", np.array([10**9], np.int64))
    times_ms = iter([100, 1000, 10_000])  # in the first the model may not come to its run

    def wait_in_vain() -> bool:
        words = call("run_model", f"KEYS 1 m INPUTS 2 x rounds OUTPUTS 1 out TIMEOUT {next(times_ms)}")
        assert db.execute_command(*words) == b"TIMEDOUT"
        wait_until(lambda: workers_sleep(server), "the script to end")
        return int(info(db, "m")["errors"]) > 0

    wait_until(wait_in_vain, "the model's run to end")
    db.execute_command(*call("counter", "KEYS 1 k INPUTS 1 a OUTPUTS 1 out"))


def test_a_missing_model_is_the_scripts_error(db: redis.Redis) -> None:
    words = call("run_model", "KEYS 1 nothing INPUTS 1 a OUTPUTS 1 out")
    assert "model key is empty" in refusal(db, *words)


def test_a_failing_model_is_the_scripts_error(db: redis.Redis) -> None:
    store_model(db, "m", forward("raise RuntimeError('out of range')\nreturn x"))
    assert "out of range" in refusal(db, *call("run_model", "KEYS 1 m INPUTS 1 a OUTPUTS 1 out"))


def test_scripts_running_models_beside_each_other_never_wait_for_ever(
    server: RedisServer, db: redis.Redis
) -> None:
    store_model(db, "m", constant(8.0))
    answers: list[float] = []

    def work(number: int) -> None:
        with server.connect() as own:
            for _ in range(25):
                own.execute_command(*call("run_model", f"KEYS 1 m INPUTS 1 a OUTPUTS 1 out{number}"))
                answers.extend(get(own, f"out{number}").tolist())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [8.0] * (4 * 25 * 2)


@pytest.mark.parametrize(
    "command",
    [
        "SYNC",
        "PSYNC ? -1",
        "WAIT 1 0",
        "MULTI",
        "SUBSCRIBE c",
        "BLPOP l 0",
        "EVAL return(1) 0",
        "CONFIG SET maxmemory 1gb",
        "SHUTDOWN NOSAVE",
    ],
)
def test_what_lua_may_not_call_no_script_may(server: RedisServer, db: redis.Redis, command: str) -> None:
    """Some of these would end the server, EVAL would have all rights."""
    words = f"KEYS 1 k ARGS {len(command.split())} {command} OUTPUTS 1 out"
    assert "not allowed" in refusal(db, *call("any_command", words))
    assert server.is_alive()
    assert db.exists("out") == 0


def test_a_full_server_refuses_what_a_script_stores(start_server: StartServer) -> None:
    """The script itself begins while there is room."""
    db = start_server().connect()
    source = (
        "def fill(tensors: List[Tensor], keys: List[str], args: List[str]):\n"
        "    while True:\n"
        "        redis.execute('APPEND', keys[0], args[0])\n"
        "    return torch.ones([1])\n"
    )
    db.execute_command("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "fill", "SOURCE", source)
    db.config_set("maxmemory", db.info("memory")["used_memory"] + 8_000_000)
    words = ("KEYS", 1, "k", "ARGS", 1, "x" * 100_000, "OUTPUTS", 1, "out")
    assert "maxmemory" in refusal(db, "AI.SCRIPTEXECUTE", "s", "fill", *words)
    assert 0 < db.strlen("k") < 50_000_000
