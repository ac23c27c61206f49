"""AI.SCRIPTRUN, as SmartRedis sends it, and AI.SCRIPTEXECUTE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import get, info, put, refusal

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

SCRIPT = """
def bar(a, b):
    return a + b

def variadic(a, rest: List[Tensor]):
    return a + rest[0] * rest[1]

def only_list(tensors: List[Tensor]):
    return torch.stack(tensors).sum(0)

def pair(a, b):
    return a + b, a - b

def fails(a, b):
    assert bool((a != a).all()), 'the script says no'
    return a

def scale(a):
    return a * 2
"""
ENTRY = """
def bar(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] + tensors[1]

def scaled(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] * float(args[0])

def counts(tensors: List[Tensor], keys: List[str], args: List[str]):
    return torch.tensor([len(tensors), len(keys), len(args)])
"""

REFUSED_EXECUTES = [
    ("wrong number of arguments for 'AI.SCRIPTEXECUTE' command", ()),
    ("Invalid argument for inputs count in AI.SCRIPTEXECUTE", ("s", "bar", "INPUTS", "OUTPUTS")),
    (
        "No value provided for TIMEOUT in AI.SCRIPTEXECUTE",
        ("s", "bar", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "TIMEOUT"),
    ),
    ("Invalid value for TIMEOUT", ("s", "bar", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "c", "TIMEOUT", "no")),
    (
        "KEYS or INPUTS scope must be provided first for AI.SCRIPTEXECUTE command",
        ("s", "bar", "OUTPUTS", 2, "c", "d"),
    ),
    ("Invalid or negative value found in number of KEYS", ("s", "bar", "KEYS", "not_a_number", "k")),
    ("Invalid or negative value found in number of KEYS", ("s", "bar", "KEYS", -1, "k")),
    (
        "Number of pre declared KEYS to be used in the command does not match the number of given arguments",
        ("s", "bar", "KEYS", 2, "k"),
    ),
    (
        "tensor key is empty or in a different shard",
        ("s", "bar", "INPUTS", 2, "nothing", "b", "OUTPUTS", 1, "c"),
    ),
    (WRONG_TYPE, ("s", "bar", "INPUTS", 2, "text", "b", "OUTPUTS", 1, "c")),
]


@pytest.fixture
def scripts(db: redis.Redis) -> None:
    db.execute_command("AI.SCRIPTSET", "old", "CPU", "SOURCE", SCRIPT)
    words = ("CPU", "ENTRY_POINTS", 3, "bar", "scaled", "counts", "SOURCE", ENTRY)
    db.execute_command("AI.SCRIPTSTORE", "s", *words)
    db.set("text", "no tensor")
    for name, value in {"a": [2.0, 3.0], "b": [10.0, 20.0], "c2": [100.0, 200.0]}.items():
        put(db, name, np.array(value))


pytestmark = pytest.mark.usefixtures("scripts")


def run(db: redis.Redis, *words: Any) -> np.ndarray[Any, Any]:
    assert db.execute_command(*words) == b"OK"
    return get(db, "out")


@pytest.mark.parametrize(("text", "arguments"), REFUSED_EXECUTES, ids=str)
def test_refused_execute_names_the_fault(db: redis.Redis, text: str, arguments: tuple[Any, ...]) -> None:
    assert refusal(db, "AI.SCRIPTEXECUTE", *arguments) == text
    assert db.exists("c", "d") == 0


def test_a_word_too_many_is_named(db: redis.Redis) -> None:
    words = ("s", "bar", "INPUTS", 1, "a", "b", "OUTPUTS", 1, "c")
    text = refusal(db, "AI.SCRIPTEXECUTE", *words)
    assert text == "Invalid AI.SCRIPTEXECUTE command. Unexpected argument: b"


def test_run_as_smartredis_sends_it(db: redis.Redis) -> None:
    out = run(db, "AI.SCRIPTRUN", "old", "bar", "INPUTS", "a", "b", "OUTPUTS", "out")
    np.testing.assert_array_equal(out, [12.0, 23.0])


def test_run_with_two_outputs(db: redis.Redis) -> None:
    np.testing.assert_array_equal(
        run(db, "AI.SCRIPTRUN", "old", "pair", "INPUTS", "a", "b", "OUTPUTS", "sum", "out"), [-8.0, -17.0]
    )
    np.testing.assert_array_equal(get(db, "sum"), [12.0, 23.0])


def test_run_with_a_list_behind_the_dollar(db: redis.Redis) -> None:
    out = run(db, "AI.SCRIPTRUN", "old", "variadic", "INPUTS", "a", "$", "b", "c2", "OUTPUTS", "out")
    np.testing.assert_array_equal(out, [1002.0, 4003.0])


def test_run_with_only_a_list(db: redis.Redis) -> None:
    out = run(db, "AI.SCRIPTRUN", "old", "only_list", "INPUTS", "$", "a", "b", "c2", "OUTPUTS", "out")
    np.testing.assert_array_equal(out, [112.0, 223.0])


def test_two_dollars_are_refused(db: redis.Redis) -> None:
    words = ("old", "variadic", "INPUTS", "$", "a", "$", "b", "OUTPUTS", "out")
    assert refusal(db, "AI.SCRIPTRUN", *words) == "Already encountered a variable size list of tensors"


def test_run_takes_a_timeout_first(db: redis.Redis) -> None:
    words = ("old", "bar", "TIMEOUT", 100_000, "INPUTS", "a", "b", "OUTPUTS", "out")
    np.testing.assert_array_equal(run(db, "AI.SCRIPTRUN", *words), [12.0, 23.0])


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("old",),
        ("old", "bar"),
        ("old", "bar", "OUTPUTS", "out"),
        ("old", "bar", "INPUTS", "nothing", "b", "OUTPUTS", "out"),
        ("old", "bar", "INPUTS", "text", "b", "OUTPUTS", "out"),
        ("old", "bar", "INPUTS", "a", "OUTPUTS", "out"),
        ("old", "bar", "INPUTS", "a", "b", "c2", "OUTPUTS", "out"),
        ("old", "bar", "INPUTS", "a", "b", "OUTPUTS"),
        ("old", "bar", "INPUTS", "a", "b"),
        ("old", "bar", "INPUTS", "a", "b", "OUTPUTS", "out", "out2"),
        ("old", "bar", "TIMEOUT", "soon", "INPUTS", "a", "b", "OUTPUTS", "out"),
        ("text", "bar", "INPUTS", "a", "b", "OUTPUTS", "out"),
    ],
    ids=str,
)
def test_refused_run_writes_nothing(db: redis.Redis, words: tuple[str, ...]) -> None:
    assert refusal(db, "AI.SCRIPTRUN", *words)
    assert db.exists("out", "out2") == 0


@pytest.mark.parametrize("command", ["AI.SCRIPTRUN", "AI.SCRIPTEXECUTE"])
def test_a_function_that_is_not_there_is_named(db: redis.Redis, command: str) -> None:
    counted = command == "AI.SCRIPTEXECUTE"
    words = ("INPUTS", 1, "a", "OUTPUTS", 1, "out") if counted else ("INPUTS", "a", "OUTPUTS", "out")
    assert "no_such_function" in refusal(db, command, "old", "no_such_function", *words)


def test_a_failing_script_gives_its_reason_in_one_line(db: redis.Redis) -> None:
    text = refusal(db, "AI.SCRIPTRUN", "old", "fails", "INPUTS", "a", "b", "OUTPUTS", "out")
    assert "the script says no" in text
    assert db.exists("out") == 0
    assert info(db, "old")["errors"] == 1


def test_a_script_may_raise(db: redis.Redis) -> None:
    """As functions do that a user sends with set_function."""
    source = "def no(a):\n    if True:\n        raise RuntimeError('not today')\n    return a\n"
    db.execute_command("AI.SCRIPTSET", "raises", "CPU", "SOURCE", source)
    assert "not today" in refusal(db, "AI.SCRIPTRUN", "raises", "no", "INPUTS", "a", "OUTPUTS", "out")


def test_execute_an_entry_point(db: redis.Redis) -> None:
    out = run(db, "AI.SCRIPTEXECUTE", "s", "bar", "INPUTS", 2, "a", "b", "OUTPUTS", 1, "out")
    np.testing.assert_array_equal(out, [12.0, 23.0])


def test_execute_passes_arguments(db: redis.Redis) -> None:
    words = ("s", "scaled", "INPUTS", 1, "a", "ARGS", 1, "2.5", "OUTPUTS", 1, "out")
    np.testing.assert_array_equal(run(db, "AI.SCRIPTEXECUTE", *words), [5.0, 7.5])


def test_execute_passes_keys_inputs_and_arguments(db: redis.Redis) -> None:
    words = ("s", "counts", "KEYS", 2, "k1", "k2", "INPUTS", 1, "a", "ARGS", 3, "x", "y", "z")
    out = run(db, "AI.SCRIPTEXECUTE", *words, "OUTPUTS", 1, "out", "TIMEOUT", 60_000)
    np.testing.assert_array_equal(out, [1, 2, 3])


def test_execute_with_keys_only(db: redis.Redis) -> None:
    out = run(db, "AI.SCRIPTEXECUTE", "s", "counts", "KEYS", 1, "k", "OUTPUTS", 1, "out")
    np.testing.assert_array_equal(out, [0, 1, 0])


def test_execute_a_function_that_is_no_entry_point(db: redis.Redis) -> None:
    """Best effort: tensors by position, a list takes the rest."""
    words = ("old", "variadic", "INPUTS", 3, "a", "b", "c2", "OUTPUTS", 1, "out")
    np.testing.assert_array_equal(run(db, "AI.SCRIPTEXECUTE", *words), [1002.0, 4003.0])


def test_a_replaced_script_runs_its_new_text(db: redis.Redis) -> None:
    run(db, "AI.SCRIPTRUN", "old", "scale", "INPUTS", "a", "OUTPUTS", "out")
    db.execute_command("AI.SCRIPTSET", "old", "CPU", "SOURCE", "def scale(a):\n    return a * 3\n")
    out = run(db, "AI.SCRIPTRUN", "old", "scale", "INPUTS", "a", "OUTPUTS", "out")
    np.testing.assert_array_equal(out, [6.0, 9.0])
