"""AI.SCRIPTSET, AI.SCRIPTSTORE, AI.SCRIPTGET and AI.SCRIPTDEL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import put, refusal

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

SCRIPT = """
def bar(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] + tensors[1]

def bar_variadic(tensors: List[Tensor], keys: List[str], args: List[str]):
    return tensors[0] + tensors[-1]
"""
UNTYPED = """
def bar(a, b, c):
    return a
"""
OLD = """
def bar(a, b):
    return a + b

def bar_variadic(a, args: List[Tensor]):
    return args[0] + args[1]
"""

REFUSED_STORES = [
    ("wrong number of arguments for 'AI.SCRIPTSTORE' command", ()),
    ("wrong number of arguments for 'AI.SCRIPTSTORE' command", ("s", "CPU", "SOURCE", "return 1")),
    ("Invalid DEVICE", ("s", "bad_device", "ENTRY_POINTS", 1, "bar", "SOURCE", SCRIPT)),
    (
        "Insufficient arguments, missing script entry points",
        ("s", "CPU", "NO_ENTRY_POINTS", 2, "bar", "bar_variadic", "SOURCE", SCRIPT),
    ),
    (
        "Non numeric entry points number provided to AI.SCRIPTSTORE command",
        ("s", "CPU", "ENTRY_POINTS", "ENTRY_POINTS", "bar", "bar_variadic", "SOURCE", SCRIPT),
    ),
    (
        "Insufficient arguments, missing script SOURCE",
        ("s", "CPU", "ENTRY_POINTS", 2, "bar", "bar_variadic", "SOURCE"),
    ),
    (
        "Function bar1 does not exist in the given script.",
        ("s", "CPU", "ENTRY_POINTS", 2, "bar", "bar1", "SOURCE", SCRIPT),
    ),
    (
        "Wrong inputs type in function bar. Expected signature similar to: "
        "def bar(tensors: List[Tensor], keys: List[str], args: List[str])",
        ("s", "CPU", "ENTRY_POINTS", 1, "bar", "SOURCE", UNTYPED),
    ),
    (
        "Wrong number of inputs in function bar. Expected 3 but was 2",
        ("s", "CPU", "ENTRY_POINTS", 2, "bar", "bar_variadic", "SOURCE", OLD),
    ),
]

BROKEN = {
    "syntax": "def bar(a, b):\n    return a +\n",
    "unknown name": "def bar(a, b):\n    return a + missing_thing\n",
    "wrong types": "def bar(a, b):\n    return torch.mm(a, 'text')\n",
    "no function": "x = 1\n",
    "words": "this is no program",
}


@pytest.mark.parametrize(("text", "arguments"), REFUSED_STORES, ids=str)
def test_refused_store_names_the_fault_and_keeps_the_old_script(
    db: redis.Redis, text: str, arguments: tuple[Any, ...]
) -> None:
    assert db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", OLD) == b"OK"
    assert refusal(db, "AI.SCRIPTSTORE", *arguments) == text
    assert db.execute_command("AI.SCRIPTGET", "s", "SOURCE") == OLD.encode()


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_broken_source_is_refused_in_one_line(db: redis.Redis, source: str) -> None:
    assert refusal(db, "AI.SCRIPTSET", "s", "CPU", "SOURCE", source)
    assert refusal(db, "AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "bar", "SOURCE", source)
    assert db.exists("s") == 0


@pytest.mark.parametrize(
    "arguments", [(), ("s",), ("s", "CPU"), ("s", "CPU", "SOURCE"), ("s", "disk", "SOURCE", OLD)], ids=str
)
def test_refused_set_stores_nothing(db: redis.Redis, arguments: tuple[str, ...]) -> None:
    assert refusal(db, "AI.SCRIPTSET", *arguments)
    assert db.exists("s") == 0


def test_stored_script_comes_back(db: redis.Redis) -> None:
    command = ("s", "CPU", "TAG", "s:v1", "ENTRY_POINTS", 2, "bar", "bar_variadic", "SOURCE", SCRIPT)
    assert db.execute_command("AI.SCRIPTSTORE", *command) == b"OK"
    meta = [b"device", b"CPU", b"tag", b"s:v1", b"Entry Points", [b"bar", b"bar_variadic"]]
    whole = [*meta, b"source", SCRIPT.encode()]
    assert db.execute_command("AI.SCRIPTGET", "s", "META") == meta
    assert db.execute_command("AI.SCRIPTGET", "s", "SOURCE") == SCRIPT.encode()
    assert db.execute_command("AI.SCRIPTGET", "s") == whole
    assert db.execute_command("AI.SCRIPTGET", "s", "META", "SOURCE") == whole
    assert db.type("s") == b"AI_SCRIPT"


def test_set_script_comes_back(db: redis.Redis) -> None:
    assert db.execute_command("AI.SCRIPTSET", "s", "CPU", "TAG", "t", "SOURCE", OLD) == b"OK"
    assert db.execute_command("AI.SCRIPTGET", "s", "SOURCE") == OLD.encode()
    assert db.execute_command("AI.SCRIPTGET", "s", "META") == [
        *(b"device", b"CPU", b"tag", b"t", b"Entry Points", []),
    ]


@pytest.mark.parametrize("command", ["AI.SCRIPTGET", "AI.SCRIPTDEL", "AI.SCRIPTEXECUTE", "AI.SCRIPTRUN"])
def test_missing_script_is_named(db: redis.Redis, command: str) -> None:
    words = {
        "AI.SCRIPTEXECUTE": ("bar", "INPUTS", 1, "a", "OUTPUTS", 1, "c"),
        "AI.SCRIPTRUN": ("bar", "INPUTS", "a", "OUTPUTS", "c"),
    }.get(command, ())
    assert refusal(db, command, "nothing", *words) == "script key is empty"


@pytest.mark.parametrize("command", ["AI.SCRIPTGET", "AI.SCRIPTDEL", "AI.SCRIPTSET"])
def test_a_key_of_another_type_is_no_script(db: redis.Redis, command: str) -> None:
    words = ("CPU", "SOURCE", OLD) if command == "AI.SCRIPTSET" else ()
    put(db, "t", np.ones(2))
    assert refusal(db, command, "t", *words) == WRONG_TYPE
    assert db.type("t") == b"AI_TENSOR"


def test_a_deleted_script_is_gone(db: redis.Redis) -> None:
    db.execute_command("AI.SCRIPTSET", "s", "CPU", "SOURCE", OLD)
    assert db.execute_command("AI.SCRIPTDEL", "s") == b"OK"
    assert db.exists("s") == 0
    assert refusal(db, "AI.INFO", "s") == "cannot find run info for key"
