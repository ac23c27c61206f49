"""The page "it does not start": each text that it quotes is one that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("orchestrator", "sim_clients", "trainers")
ANY = "\N{HORIZONTAL ELLIPSIS}"


def quoted() -> list[str]:
    """Return the texts in the first cells of the tables."""
    cells = [line.split(" | ")[0] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return sorted({quote for cell in cells for quote in re.findall(r"`([^`]+)`", cell)})


@cache
def texts() -> list[str]:
    """Return every text of the code, with an ellipsis for what is filled in."""
    found: list[str] = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found.extend(_texts_of(ast.parse(path.read_text())))
    return found


def _texts_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _part(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else ANY


def occurs(quote: str) -> bool:
    """Whether its words stand in one text of the code, in their order."""
    words = [part.strip() for part in quote.split(ANY) if part.strip(" :;,.")]
    pattern = re.compile(".*?".join(map(re.escape, words)), re.DOTALL)
    return any(pattern.search(text) for text in texts())


def test_the_page_has_texts() -> None:
    assert len(quoted()) > 55 and all(len(quote.replace(ANY, "").strip()) > 7 for quote in quoted())


@pytest.mark.parametrize("quote", quoted())
def test_what_is_quoted_is_said(quote: str) -> None:
    if quote.startswith("application "):  # the beginning that errors.py puts before all of a kind
        quote = quote.partition(": ")[2]
    assert occurs(quote)


def test_what_nobody_says_would_be_found() -> None:
    assert not occurs(f"there is no redis-servant: {ANY}")
    assert not occurs(f"cannot be used: {ANY} starboard")
    assert not occurs(f"are free {ANY} needs")
