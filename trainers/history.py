"""The history of a training: one line for each judgement, written as it happens and read by whoever draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HISTORY = "history.jsonl"


def append_history(directory: Path, line: dict[str, Any]) -> None:
    """Add one line; it is on disk when this returns."""
    with (directory / HISTORY).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_history(directory: Path) -> list[dict[str, Any]]:
    """Return all lines, oldest first."""
    with (directory / HISTORY).open() as file:
        return [json.loads(line) for line in file]
