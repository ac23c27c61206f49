"""Code and values that nest without reason: torch would go down into them until its stack ends."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import redis

from tests.integration.ai_commands import execute, get, put, refusal, store_model
from tests.integration.torchscript import edited, forward, torchscript

RUN = ("AI.MODELEXECUTE", "m", "INPUTS", 1, "x", "OUTPUTS", 1, "y")
TOO_DEEP = 100_000
DEEP = 9_000
SHAPES = {
    "brackets": ("(" * TOO_DEEP, "x", ")" * TOO_DEEP),
    "signs": ("-" * TOO_DEEP, "x", ""),
    "sums": ("", "x", "+ x" * TOO_DEEP),
    "calls": ("torch.neg(" * TOO_DEEP, "x", ")" * TOO_DEEP),
    "choices": ("", "x", " if True else x" * TOO_DEEP),
    "between comments": ("( # )\n" * TOO_DEEP, "x", ")" * TOO_DEEP),
}


def script(before: str, x: str, after: str) -> str:
    arguments = "tensors: List[Tensor], keys: List[str], args: List[str]"
    return f"def f({arguments}):\n    x = tensors[0]\n    return {before}{x}{after}\n"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_script_that_is_too_deep_is_refused(db: redis.Redis, shape: str) -> None:
    source = script(*SHAPES[shape])
    text = refusal(db, "AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "f", "SOURCE", source)
    assert "the script nests more than 10000 deep: split it into functions" in text
    assert db.ping()


def test_a_model_that_is_too_deep_is_refused(db: redis.Redis) -> None:
    blob = edited(forward("return torch.neg(x)"), "torch.neg(x)", "torch.neg(x" + " + x" * TOO_DEEP + ")")
    text = refusal(db, "AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB", blob)
    assert ".py nests more than 10000 deep: split it into functions" in text
    assert db.ping()


def test_code_that_hides_between_comments_is_refused(db: redis.Redis) -> None:
    hidden = "# '''\n    y = " + "(" * TOO_DEEP + "\n# '''\n    return"
    source = script("(", "x", ")").replace("return", hidden)
    text = refusal(db, "AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "f", "SOURCE", source)
    assert "the script nests more than 10000 deep" in text
    assert db.ping()


def typed(name: bytes) -> bytes:
    """Return a model with an attribute whose type has a name of somebody's choice in the file."""
    plain = torchscript("def forward(self, x):\n    return x\n", attributes={"d": {"k": 1}})
    was = b"Dict[str, int]"
    return edited(plain, struct.pack("<I", len(was)) + was, struct.pack("<I", len(name)) + name, "data.pkl")


def test_a_type_that_is_too_deep_is_refused(db: redis.Redis) -> None:
    store = ("AI.MODELSTORE", "m", "TORCH", "CPU", "BLOB")
    assert db.execute_command(*store, typed(b"Dict[str, int]")) == b"OK"
    for level in (b"List[", b"-", b"("):
        text = refusal(db, *store, typed(level * TOO_DEEP + b"int"))
        assert "data.pkl has the name of a type that nests more than 10000 deep" in text
    assert db.ping()


@pytest.mark.parametrize(
    ("before", "after"), [("(" * DEEP, ")" * DEEP), ("-" * (DEEP // 2), ""), ("", "+ 0" * DEEP)]
)
def test_what_is_deep_and_not_too_deep_runs(db: redis.Redis, before: str, after: str) -> None:
    put(db, "x", np.ones(2, np.float32))
    source = script(before, "x", after)
    db.execute_command("AI.SCRIPTSTORE", "s", "CPU", "ENTRY_POINTS", 1, "f", "SOURCE", source)
    db.execute_command(*["AI.SCRIPTEXECUTE", "s", "f", "INPUTS", "1", "x", "OUTPUTS", "1", "y"])
    assert get(db, "y").tolist() == [1, 1]


def test_a_long_model_is_not_deep(db: redis.Redis) -> None:
    put(db, "x", np.zeros(1, np.float32))
    store_model(db, "m", forward("x = x + 1\n" * 5000 + "return x"))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [5000]


CYCLE = "l: List[Any] = [0]\nl.append(l)\n"


@pytest.mark.parametrize("use", ["x + len(str(l))", "x + len('{}'.format(l))", "x + len('%s' % (l,))"])
def test_what_holds_itself_has_no_text(db: redis.Redis, use: str) -> None:
    put(db, "x", np.ones(2, np.float32))
    store_model(db, "m", forward(CYCLE + f"return {use}"))
    text = refusal(db, *RUN)
    assert "nested more than 1000 deep" in text
    assert db.ping()


def test_what_holds_itself_is_no_output(db: redis.Redis) -> None:
    put(db, "x", np.ones(2, np.float32))
    store_model(db, "m", forward("l: List[Any] = []\nl.append(l)\nreturn l"))
    text = refusal(db, *RUN)
    assert "an output is nested more than 1000 deep" in text
    assert db.ping()


def test_values_nest_deeper_than_a_usual_stack(db: redis.Redis) -> None:
    """They are destroyed one within the other."""
    put(db, "x", np.ones(2, np.float32))
    nest = "l: List[Any] = [0]\nfor _ in range(300000):\n    k: List[Any] = [l]\n    l = k\nreturn x + len(l)"
    store_model(db, "m", forward(nest))
    execute(db, "m", ["x"], ["y"])
    assert get(db, "y").tolist() == [2, 2]
