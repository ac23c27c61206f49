"""AI.DAGEXECUTE and its siblings: several commands in one message, on names of their own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.cluster import key_slot, slot_ranges
from tests.integration.ai_commands import command_of, get, info, put, refusal, store_model
from tests.integration.module.long_runs import blocked_clients, held_run
from tests.integration.module.test_replication import calls, pair
from tests.integration.servers import (
    Module,
    RedisServer,
    ServerBinary,
    ShardCluster,
    StartServer,
    shard_configs,
    wait_in_step,
    wait_until,
)
from tests.integration.torchscript import adder, forward, identity, sum_and_difference

__all__ = ["pair"]  # a fixture

SOURCE = """
def double(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] * 2

def stamp(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", keys[0], args[0])
    return tensors[0]

def fails(tensors: List[Tensor], keys: List[str], args: List[str]):
    assert len(tensors) > 9, 'the script says no'
    return tensors[0]
"""
OLD_SOURCE = """
def double(a):
    return a * 2

def writes(a):
    redis.execute("SET", "written", "1")
    return a
"""
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
A = np.array([1.0, 2.0], np.float32)
B = np.array([10.0, 20.0], np.float32)


@pytest.fixture(autouse=True)
def stored(db: redis.Redis) -> None:
    store_model(db, "add", adder())
    store_model(db, "both", sum_and_difference())
    words = ("CPU", "ENTRY_POINTS", 3, "double", "stamp", "fails", "SOURCE", SOURCE)
    db.execute_command("AI.SCRIPTSTORE", "s", *words)
    db.execute_command("AI.SCRIPTSET", "old", "CPU", "SOURCE", OLD_SOURCE)
    put(db, "a", A)
    put(db, "b", B)


def dag(db: redis.Redis, head: str, *steps: str | tuple[Any, ...], command: str = "AI.DAGEXECUTE") -> Any:
    """Send the head and the steps, each of them words or one line; errors within the reply stay there."""
    words: list[Any] = [command, *head.split()]
    for step in steps:
        words += ["|>", *(step.split() if isinstance(step, str) else step)]
    return db.execute_command(*words)


def values(reply: list[bytes]) -> list[float]:
    return [float(value) for value in reply]


def test_one_message_sets_runs_and_gets(db: redis.Redis) -> None:
    before = set(db.keys())
    reply = dag(
        db,
        "ROUTING add",
        command_of("x", A),
        command_of("y", B),
        "AI.MODELEXECUTE add INPUTS 2 x y OUTPUTS 1 z",
        "AI.TENSORGET z META BLOB",
    )
    assert reply[:3] == [b"OK", b"OK", b"OK"]
    assert reply[3] == [b"dtype", b"FLOAT", b"shape", [2], b"blob", (A + B).tobytes()]
    assert set(db.keys()) == before


def test_loads_and_persists(db: redis.Redis) -> None:
    reply = dag(
        db,
        "LOAD 2 a b PERSIST 2 sum difference",
        "AI.MODELEXECUTE both INPUTS 2 a b OUTPUTS 2 sum difference",
        "AI.SCRIPTEXECUTE s double INPUTS 1 sum OUTPUTS 1 sum",
        "AI.TENSORGET difference VALUES",
    )
    assert reply[:2] == [b"OK", b"OK"]
    assert values(reply[2]) == (A - B).tolist()
    np.testing.assert_array_equal(get(db, "sum"), (A + B) * 2)
    np.testing.assert_array_equal(get(db, "difference"), A - B)
    np.testing.assert_array_equal(get(db, "a"), A)


def test_a_name_may_be_used_again_and_a_loaded_key_stays_as_it_was(db: redis.Redis) -> None:
    reply = dag(
        db,
        "LOAD 1 a PERSIST 1 kept",
        "AI.TENSORGET a VALUES",
        "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 a",
        "AI.TENSORGET a VALUES",
        "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 kept",
    )
    assert (values(reply[0]), values(reply[2])) == ([1, 2], [2, 4])
    np.testing.assert_array_equal(get(db, "kept"), A * 4)
    np.testing.assert_array_equal(get(db, "a"), A)


def test_a_step_that_writes_to_its_input_changes_nobody_elses(db: redis.Redis) -> None:
    store_model(db, "wipe", forward("return x.mul_(0)"))
    reply = dag(
        db,
        "LOAD 1 a",
        "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 c",
        "AI.MODELEXECUTE wipe INPUTS 1 c OUTPUTS 1 d",
        "AI.MODELEXECUTE add INPUTS 2 c d OUTPUTS 1 e",
        "AI.TENSORGET c VALUES",
        "AI.TENSORGET e VALUES",
    )
    assert values(reply[3]) == values(reply[4]) == [2, 4]


def test_a_dag_that_runs_nothing(db: redis.Redis) -> None:
    reply = dag(
        db, "LOAD 1 a PERSIST 2 a c", command_of("c", B), "AI.TENSORGET a BLOB", "AI.TENSORGET c VALUES"
    )
    assert reply == [b"OK", A.tobytes(), reply[2]]
    np.testing.assert_array_equal(get(db, "c"), B)


@pytest.mark.parametrize("elements", [10, 20_000, 1_000_000])
def test_large_tensors_are_whole(db: redis.Redis, elements: int) -> None:
    """Redis may move a long argument after the command: a worker must not read it before."""
    store_model(db, "id", identity())
    x = np.random.default_rng(0).standard_normal(elements)
    for _ in range(3):
        reply = dag(
            db,
            "ROUTING id PERSIST 1 y",
            command_of("x", x),
            "AI.MODELEXECUTE id INPUTS 1 x OUTPUTS 1 y",
            "AI.TENSORGET y BLOB",
            "AI.TENSORGET x BLOB",
        )
        assert reply[2] == reply[3] == x.tobytes()
    np.testing.assert_array_equal(get(db, "y"), x)


def test_bytes_that_look_like_an_arrow(db: redis.Redis) -> None:
    assert dag(db, "ROUTING a", ("AI.TENSORSET", "x", "UINT8", 2, "BLOB", b"|>"), "AI.TENSORGET x BLOB") == [
        *(b"OK", b"|>"),
    ]


def test_after_an_error_nothing_is_run_or_persisted(db: redis.Redis) -> None:
    replies = dag(
        db,
        "LOAD 1 a PERSIST 2 c d",
        "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 c",
        "AI.SCRIPTEXECUTE s fails INPUTS 1 c OUTPUTS 1 d",
        "AI.MODELEXECUTE add INPUTS 2 c d OUTPUTS 1 e",
        "AI.TENSORGET c VALUES",
    )
    assert replies[0] == b"OK"
    assert isinstance(replies[1], redis.ResponseError)
    assert "the script says no" in str(replies[1])
    assert replies[2:] == [b"NA", b"NA"]
    assert db.exists("c", "d") == 0
    assert (info(db, "add")["calls"], info(db, "s")["errors"]) == (1, 1)


def test_a_model_that_takes_another_number_of_inputs_is_its_steps_error(db: redis.Redis) -> None:
    (reply,) = dag(db, "LOAD 1 a", "AI.MODELEXECUTE add INPUTS 1 a OUTPUTS 1 c")
    assert str(reply) == "Number of keys given as INPUTS here does not match model definition"


@pytest.mark.parametrize(
    ("text", "head", "step"),
    [
        ("tensor key is empty or in a different shard", "LOAD 2 a none", "AI.TENSORGET a"),
        ("model key is empty", "LOAD 1 a", "AI.MODELEXECUTE none INPUTS 1 a OUTPUTS 1 c"),
        ("script key is empty", "LOAD 1 a", "AI.SCRIPTEXECUTE none f INPUTS 1 a OUTPUTS 1 c"),
        (
            WRONG_TYPE,
            "LOAD 1 a PERSIST 1 text",
            "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 text",
        ),
        (
            WRONG_TYPE,
            "LOAD 1 add",
            "AI.TENSORGET add",
        ),
        (
            "data length does not match tensor shape and type",
            "ROUTING a",
            "AI.TENSORSET x FLOAT 2 BLOB short",
        ),
    ],
)
def test_what_is_missing_is_told_before_anything_runs(
    db: redis.Redis, text: str, head: str, step: str
) -> None:
    db.set("text", "no tensor")
    first = "AI.TENSORSET x FLOAT 2 |> AI.MODELEXECUTE add INPUTS 2 x x OUTPUTS 1 y"
    assert refusal(db, *f"AI.DAGEXECUTE {head} |> {first} |> {step}".split()) == text
    assert info(db, "add")["calls"] == 0


def test_a_script_runs_commands_on_declared_keys(db: redis.Redis) -> None:
    step = "AI.SCRIPTEXECUTE s stamp KEYS 1 stamped INPUTS 1 a ARGS 1 17 OUTPUTS 1 c"
    assert dag(db, "LOAD 1 a", step) == [b"OK"]
    assert db.get("stamped") == b"17"


def test_a_timeout_is_the_answer_of_the_whole(server: RedisServer, db: redis.Redis) -> None:
    with held_run(server, db) as held:
        step = "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 c"
        assert dag(db, "LOAD 1 a PERSIST 1 c TIMEOUT 1", step, "AI.TENSORGET c") == b"TIMEDOUT"
        held.end()
    assert db.exists("c") == 0


def test_who_leaves_takes_the_rest_of_the_dag_with_them(server: RedisServer, db: redis.Redis) -> None:
    with held_run(server, db) as held:
        raw = server.raw_socket()
        step = "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 c"
        raw.sendall(f"AI.DAGEXECUTE LOAD 1 a PERSIST 1 c |> {step}\r\n".encode())
        wait_until(lambda: blocked_clients(db) == 2, "the DAG to wait")
        raw.close()
        wait_until(lambda: blocked_clients(db) == 1, "the server to see that the client has gone")
        held.end()
    wait_until(lambda: blocked_clients(db) == 0, "everybody to be answered")
    assert db.exists("c") == 0
    assert info(db, "add")["calls"] == 0


def test_read_only(db: redis.Redis) -> None:
    steps = ("AI.MODELEXECUTE add INPUTS 2 a b OUTPUTS 1 c", "AI.TENSORGET c VALUES")
    reply = dag(db, "LOAD 2 a b", *steps, command="AI.DAGEXECUTE_RO")
    assert values(reply[1]) == (A + B).tolist()
    reply = dag(db, "ROUTING add LOAD 2 a b", *steps, command="AI.DAGEXECUTE_RO")
    assert values(reply[1]) == (A + B).tolist()


def test_the_deprecated_forms(db: redis.Redis) -> None:
    steps = (
        command_of("x", A),
        "AI.MODELRUN add INPUTS x b OUTPUTS c",
        "AI.SCRIPTRUN old double INPUTS c OUTPUTS d",
        "AI.TENSORGET d VALUES",
    )
    reply = dag(db, "LOAD 1 b PERSIST 1 d", *steps, command="AI.DAGRUN")
    assert values(reply[3]) == ((A + B) * 2).tolist()
    np.testing.assert_array_equal(get(db, "d"), (A + B) * 2)
    reply = dag(db, "LOAD 1 b", *steps, command="AI.DAGRUN_RO")
    assert values(reply[3]) == ((A + B) * 2).tolist()
    assert dag(db, "", *steps[:1], command="AI.DAGRUN") == [b"OK"]


def test_a_read_only_dags_script_changes_nothing(db: redis.Redis) -> None:
    step = "AI.SCRIPTRUN old writes INPUTS a OUTPUTS c"
    (error,) = dag(db, "LOAD 1 a", step, command="AI.DAGRUN_RO")
    assert "a read-only DAG's scripts run no commands" in str(error)
    assert db.exists("written") == 0
    assert dag(db, "LOAD 1 a", step, command="AI.DAGRUN") == [b"OK"]
    assert db.get("written") == b"1"


def test_new_types_stay_within_and_are_widened_on_the_way_out(db: redis.Redis) -> None:
    store_model(db, "half", forward("return x.to(torch.float16)"))
    store_model(db, "is_half", forward("return torch.full([1], float(x.dtype == torch.float16))"))
    run = "AI.MODELEXECUTE half INPUTS 1 a OUTPUTS 1 h"
    check = "AI.MODELEXECUTE is_half INPUTS 1 h OUTPUTS 1 yes"
    reply = dag(db, "LOAD 1 a PERSIST 1 h", run, check, "AI.TENSORGET yes VALUES", "AI.TENSORGET h META")
    assert values(reply[2]) == [1]
    assert reply[3][1] == b"FLOAT"
    np.testing.assert_array_equal(get(db, "h"), A)
    reply = dag(db, "LOAD 1 a PERSIST 1 h", f"{run} NATIVE", check, "AI.TENSORGET h META")
    assert reply[2][1] == b"FLOAT16"
    assert get(db, "h").dtype == np.float16


def test_short_steps_that_the_main_thread_takes_over_answer_alike(db: redis.Redis) -> None:
    """After some runs a model is known to be short; then a step of it may be followed by one that is not."""
    for i in range(60):
        x = np.full(3, i, np.float32)
        fails = "AI.SCRIPTEXECUTE s fails INPUTS 1 y OUTPUTS 1 z"
        reply = dag(
            db,
            "ROUTING add PERSIST 1 y",
            command_of("x", x),
            "AI.MODELEXECUTE add INPUTS 2 x x OUTPUTS 1 y",
            "AI.MODELEXECUTE add INPUTS 2 x y OUTPUTS 1 y",
            *([fails] if i % 3 == 0 else []),
            "AI.TENSORGET y BLOB",
        )
        assert reply[:3] == [b"OK"] * 3
        assert reply[-1] == (b"NA" if i % 3 == 0 else (3 * x).tobytes())
        if i % 3:
            np.testing.assert_array_equal(get(db, "y"), 3 * x)
        elif i:
            np.testing.assert_array_equal(get(db, "y"), 3 * (x - 1))
    assert info(db, "add")["calls"] == 120


def test_many_clients_get_each_their_own(server: RedisServer, db: redis.Redis) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        with server.connect() as own:
            for i in range(30):
                x = np.full(3, 100 * number + i, np.float32)
                reply = dag(
                    own,
                    "ROUTING add",
                    command_of("x", x),
                    "AI.MODELEXECUTE add INPUTS 2 x x OUTPUTS 1 y",
                    "AI.SCRIPTEXECUTE s double INPUTS 1 y OUTPUTS 1 y",
                    "AI.TENSORGET y BLOB",
                )
                if reply[-1] != (4 * x).tobytes():
                    wrong.append(reply)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


WORDS = st.sampled_from(
    [
        *("LOAD", "PERSIST", "ROUTING", "TIMEOUT", "|>", "0", "1", "2", "-1", "9223372036854775807"),
        *("a", "b", "c", "add", "s", "none", "double", "INPUTS", "OUTPUTS", "KEYS", "NATIVE", "BLOB", ""),
    ]
)
STEPS = st.sampled_from(
    [
        *("AI.TENSORSET c FLOAT 2 VALUES 1 2", "AI.TENSORSET c FLOAT 2", "AI.TENSORSET c INT8 2 BLOB |>"),
        *("AI.TENSORGET c", "AI.TENSORGET a VALUES", "AI.MODELEXECUTE add INPUTS 2 a c OUTPUTS 1 c"),
        *(
            "AI.MODELEXECUTE add INPUTS 2 c c OUTPUTS 2 c a",
            "AI.SCRIPTEXECUTE s fails INPUTS 1 c OUTPUTS 1 c",
        ),
        *("AI.SCRIPTEXECUTE s double INPUTS 1 a OUTPUTS 1 c", "AI.MODELRUN add INPUTS a c OUTPUTS c"),
        "AI.SCRIPTRUN old double INPUTS c OUTPUTS a",
    ]
)
HEADS = st.sampled_from(
    ["", "LOAD 1 a", "LOAD 2 a b PERSIST 1 c", "ROUTING a", "LOAD 1 a TIMEOUT 1", "PERSIST 2 c a"]
)
COMMANDS = st.sampled_from(["AI.DAGEXECUTE", "AI.DAGEXECUTE_RO", "AI.DAGRUN", "AI.DAGRUN_RO"])


@pytest.mark.fuzz
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    command=COMMANDS,
    head=HEADS,
    steps=st.lists(STEPS, max_size=6),
    damage=st.lists(st.tuples(st.integers(0, 60), WORDS), max_size=2),
)
def test_any_dag_is_answered_whole(
    db: redis.Redis, command: str, head: str, steps: list[str], damage: list[tuple[int, str]]
) -> None:
    """An entry for each step, or one answer for all of them; and its words are its keys or nothing is."""
    words = f"{command} {head} {' '.join(f'|> {step}' for step in steps)}".split()
    for at, word in damage:
        place = 1 + at % len(words)
        words[place : place + 1] = [word]
    try:
        reply = db.execute_command(*words)
        assert reply == b"TIMEDOUT" or 0 < len(reply) <= sum(word == "|>" for word in words)
    except redis.ResponseError as error:
        assert str(error)
    try:
        assert set(db.execute_command("COMMAND GETKEYS", *words)) <= set(words)
    except redis.ResponseError as error:
        assert str(error)


def test_a_dag_begun_while_its_model_loads_waits_for_it(start_server: StartServer) -> None:
    """Nobody can be blocked in a transaction: the model is in its key before it is loaded."""
    db = start_server().connect()
    with db.pipeline(transaction=True) as pipeline:
        pipeline.execute_command("AI.MODELSTORE", "add", "TORCH", "CPU", "BLOB", adder())
        pipeline.execute()
    reply = dag(
        db,
        "ROUTING add",
        command_of("x", A),
        "AI.MODELEXECUTE add INPUTS 2 x x OUTPUTS 1 y",
        "AI.TENSORGET y BLOB",
    )
    assert reply[2] == (A * 2).tobytes()


def test_what_persists_reaches_the_replica_as_tensors(pair: tuple[RedisServer, RedisServer]) -> None:
    master, replica = (server.connect() for server in pair)
    store_model(master, "add", adder())
    put(master, "a", A)
    dag(master, "LOAD 1 a PERSIST 1 c", "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 c")
    wait_in_step(master, replica)
    np.testing.assert_array_equal(get(replica, "c"), A * 2)
    assert calls(replica, "AI.DAGEXECUTE") == 0
    steps = ("AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 c", "AI.TENSORGET c BLOB")
    assert dag(replica, "LOAD 1 a", *steps, command="AI.DAGEXECUTE_RO") == [b"OK", (A * 2).tobytes()]
    with pytest.raises(redis.ReadOnlyError):
        dag(replica, "LOAD 1 a", *steps)


def test_a_user_reaches_their_own_keys_only(server: RedisServer, db: redis.Redis) -> None:
    """Local names are no keys, everything else is: of a step's model, too."""
    db.acl_setuser("limited", enabled=True, nopass=True, keys=["a", "add"], commands=["+@all"])
    run = "AI.MODELEXECUTE add INPUTS 2 a a OUTPUTS 1 local"
    try:
        with server.connect(username="limited", password="any") as limited:
            assert dag(limited, "LOAD 1 a", run, "AI.TENSORGET local BLOB")[1] == (2 * A).tobytes()
            for head, step in [
                ("LOAD 2 a b", run),
                ("LOAD 1 a PERSIST 1 local", run),
                ("LOAD 1 a", "AI.MODELEXECUTE both INPUTS 2 a a OUTPUTS 2 c d"),
                ("LOAD 1 a", "AI.SCRIPTEXECUTE s double INPUTS 1 a OUTPUTS 1 c"),
            ]:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    dag(limited, head, step)
    finally:
        db.acl_deluser("limited")
    assert db.exists("local") == 0


def test_a_shard_answers_for_its_own_keys_only(
    server_binary: ServerBinary, module: Module, short_directory: Path
) -> None:
    configs = shard_configs(server_binary, short_directory / f"dag-{server_binary.name}", (module,), 3)
    run = "AI.MODELEXECUTE add{1} INPUTS 2 anything whatever OUTPUTS 1 result"
    steps = (command_of("anything", A), command_of("whatever", B), run, "AI.TENSORGET result BLOB")
    with ShardCluster(configs) as cluster:
        owned = [key_slot("{1}") in slots for slots in slot_ranges(3)]
        owner = cluster.shards[owned.index(True)].connect()
        other = cluster.shards[owned.index(False)].connect()
        store_model(owner, "add{1}", adder())
        for command in ("AI.DAGEXECUTE", "AI.DAGEXECUTE_RO"):
            assert dag(owner, "ROUTING {1}", *steps, command=command)[3] == (A + B).tobytes()
        with pytest.raises(redis.exceptions.MovedError):
            dag(other, "ROUTING {1}", *steps)
        with pytest.raises(redis.exceptions.ClusterCrossSlotError):
            dag(owner, "ROUTING {2}", *steps)
