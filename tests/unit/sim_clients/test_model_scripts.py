"""The scripts of model versions, and their waits: the same in C and in Python."""

from __future__ import annotations

import ast
import re

import pytest

from sim_clients import redis_models, registry
from sim_clients.native_library import SOURCE


def text_in(file: str, name: str) -> str:
    """Return the text that a C file has under a name."""
    found = re.search(rf'\b{name}\[\] =((?:\s*"(?:[^"\\]|\\.)*")+);', (SOURCE / file).read_text())
    assert found is not None, f"{file} has no text {name}"
    return str(ast.literal_eval(f"({found[1]})"))


def number_in(file: str, name: str) -> float:
    """Return the number that a C file has under a name."""
    found = re.search(rf"\b{name} = ([0-9.]+)\b", (SOURCE / file).read_text())
    assert found is not None, f"{file} has no number {name}"
    return float(found[1])


@pytest.mark.parametrize(
    ("file", "name", "ours"),
    [
        ("swap.c", "kTake", redis_models._TAKE),
        ("swap.c", "kKeep", redis_models._KEEP),
        ("swap.c", "kLeave", redis_models._LEAVE),
        ("post.c", "kReport", redis_models._REPORT),
        ("post.c", "kMissing", redis_models._MISSING),
    ],
)
def test_a_text_is_the_same(file: str, name: str, ours: str) -> None:
    assert text_in(file, name) == ours


def test_the_waits_and_counts_are_the_same() -> None:
    assert number_in("swap.c", "kExpiryMs") == 1000 * redis_models._EXPIRY_S
    assert number_in("swap.c", "kTurn") == redis_models._TURN_S
    assert number_in("swap.c", "kShare") == redis_models._SHARE
    assert number_in("post.c", "kReportsKept") == registry.REPORTS_KEPT
