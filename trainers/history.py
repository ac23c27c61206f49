"""The history of a training: one line for each judgement and each event, read by whoever draws.

A line without "event" is a judgement: what was reached when. Other lines tell what became of a model:

    {"event": "gate", "unix_time": …, "version": 3, "accepted": true, "reason": …, "candidate": …, "live": …}
    {"event": "rollback", "unix_time": …, "version": 2, "from": 3, "reason": …}
    {"event": "trial", "unix_time": …, "version": 3, "reason": …}

`penstock report` draws them, and with a Board they go to TensorBoard too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from trainers.buffer import Drawn
from trainers.errors import FileNotWritten

HISTORY = "history.jsonl"
EVENT = "event"
"""The word that tells an event from a judgement."""


class Follower(Protocol):
    """Takes each line as it is written."""

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class History:
    """The history of one training, which is added to.

    Args:
        directory: where it is.
        follower: takes each line too; None: nobody.
    """

    def __init__(self, directory: Path, follower: Follower | None = None) -> None:
        self.directory = directory
        self._follower = follower

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line; it is in the file when this returns."""
        append_history(self.directory, line)
        if self._follower is not None:
            self._follower.take(line)

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._follower is not None:
            self._follower.close()


def append_history(directory: Path, line: Mapping[str, Any]) -> None:
    """Add one line; it is in the file when this returns. A line that a kill cut off stays alone.

    Raises:
        FileNotWritten: for want of room or permission.
    """
    path, text = directory / HISTORY, json.dumps(line).encode() + b"\n"
    try:
        with path.open("ab+") as file:
            whole = not file.tell() or _last_byte(path) == b"\n"
            file.write((b"" if whole else b"\n") + text)
    except OSError as error:
        raise FileNotWritten(path, error.strerror or str(error)) from error


def read_history(directory: Path) -> list[dict[str, Any]]:
    """Return all judgements, oldest first."""
    return [line for line in _lines(directory) if EVENT not in line]


def read_events(directory: Path) -> list[dict[str, Any]]:
    """Return all that became of models, oldest first."""
    return [line for line in _lines(directory) if EVENT in line]


def buffer_facts(buffer: object) -> dict[str, float]:
    """Return what a judgement tells of a buffer: its bytes, and how old the samples drawn are.

    Args:
        buffer: any; of one that is not ours nothing is told.
    """
    if not isinstance(buffer, Drawn):
        return {}
    ages = buffer.ages()
    old = {"age_median": float(np.median(ages)), "age_p90": float(np.quantile(ages, 0.9))} if ages else {}
    return {"buffer_bytes": buffer.nbytes, **old}


def _lines(directory: Path) -> list[dict[str, Any]]:
    """Return all lines but those that a kill has cut off."""
    found = []
    for line in (directory / HISTORY).read_text(errors="replace").splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return [line for line in found if isinstance(line, dict)]


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)
