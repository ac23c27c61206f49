"""What the programs of a run have written about it. What is damaged is left out and named."""

from __future__ import annotations

import datetime
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

HISTORY = "history.jsonl"
SPECIMENS = "specimens"
NAMED = 5
"""So many damaged lines of a file are named; the others are counted."""
_NEEDED = ("unix_time", "step", "validation")
_NUMBERS = ("step", "version")
"""What is a number in every line that has it; an event may have none of them, or null."""

_UNREADABLE = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, MemoryError),
    *(SyntaxError, zipfile.BadZipFile, zlib.error),
)
"""What numpy and zipfile raise for files that are none of theirs, or are damaged."""

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Specimen:
    """A few fields that a network was not trained on, and what a version of it makes of them.

    Attributes:
        version: of the network.
        field, units: what it is; no units where nobody has told them.
        truth, prediction: `(samples, …)`, of one shape.
        stride: every how manieth point in each direction is there.
        shape: of a whole field.
    """

    version: int
    field: str
    units: str
    truth: npt.NDArray[np.floating[Any]]
    prediction: npt.NDArray[np.floating[Any]]
    stride: int
    shape: tuple[int, ...]


@dataclass
class Training:
    """What a trainer has written.

    Attributes:
        program: its name.
        judgements: the lines of its history that are none of an event, oldest first.
        events: the others.
        specimens: by version.
        damage: a sentence for each thing that could not be read.
    """

    program: str
    judgements: list[Line] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)
    specimens: list[Specimen] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def read_trainings(run_dir: Path, programs: Sequence[str]) -> list[Training]:
    """Return what those programs of a run have written that have a history."""
    return [
        read_training(program, run_dir / program)
        for program in programs
        if (run_dir / program / HISTORY).exists()
    ]


def read_training(program: str, directory: Path) -> Training:
    """Return what a trainer has written into its directory."""
    training = Training(program)
    _read_history(directory / HISTORY, training)
    for path in sorted((directory / SPECIMENS).glob("*.npz")):
        if not path.name.startswith("."):
            _read_specimen(path, training)
    training.specimens.sort(key=lambda specimen: specimen.version)
    return training


def _read_history(path: Path, training: Training) -> None:
    if not path.is_file():  # a FIFO would wait for whoever writes into it
        training.damage.append(f"{training.program}/{path.name} is no regular file")
        return
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        training.damage.append(f"{training.program}/{path.name} cannot be read: {error.strerror}")
        return
    skipped: list[str] = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = parsed(text)
        except ValueError as error:
            cut_off = number == len(lines)  # what was written whole ends with a new line
            skipped.append(f"line {number} ({'cut off' if cut_off else error})")
            continue
        (training.events if "event" in line else training.judgements).append(line)
    if skipped:
        more = f" and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        count = f"{len(skipped)} line{'s' if len(skipped) > 1 else ''} skipped"
        training.damage.append(f"{training.program}/{path.name}: {count}: {', '.join(skipped[:NAMED])}{more}")


def parsed(text: bytes) -> Line:
    """Return a line of a history.

    Raises:
        ValueError: it is none; says why in a few words.
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON") from error
    if not isinstance(line, dict):
        raise ValueError("no JSON object")
    for name in ("unix_time",) if "event" in line else _NEEDED:
        if name not in line:
            raise ValueError(f"without {name}")
        if number(line, name) is None:
            raise ValueError(f"{name} is no number")
    for name in _NUMBERS:
        if line.get(name) is not None and number(line, name) is None:
            raise ValueError(f"{name} is no number")
    if not math.isfinite(number(line, "step") or 0):
        raise ValueError("step is not finite")
    try:
        datetime.datetime.fromtimestamp(line["unix_time"])
    except (ValueError, OSError, OverflowError) as error:
        raise ValueError("unix_time is no time") from error
    return line


def number(line: Line, name: str) -> float | None:
    """Return a number of a line; None where it has none of this name."""
    value = line.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _read_specimen(path: Path, training: Training) -> None:
    try:
        training.specimens.append(_specimen(path))
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        training.damage.append(
            f"{training.program}/{SPECIMENS}/{path.name} cannot be used and is left out: {reason}"
        )


def _specimen(path: Path) -> Specimen:
    if not path.is_file():
        raise ValueError("it is no regular file")
    with path.open("rb") as opened:
        if not zipfile.is_zipfile(opened):
            raise ValueError("it is no whole .npz file")
        opened.seek(0)
        return _checked(path, opened)


def _checked(path: Path, opened: BinaryIO) -> Specimen:
    with np.load(opened, allow_pickle=False) as file:
        truth, prediction = file["truth"], file["prediction"]
        facts = {name: file[name].item() for name in ("field", "units", "stride")}
        shape = tuple(int(points) for points in file["shape"])
    if truth.shape != prediction.shape or not truth.size or not len(shape) == truth.ndim - 1:
        raise ValueError(f"the truth is {truth.shape}, the prediction {prediction.shape}, a field {shape}")
    if truth.dtype.kind not in "fiub" or prediction.dtype.kind not in "fiub":
        raise ValueError(f"fields of {truth.dtype} and {prediction.dtype} cannot be drawn")
    return Specimen(
        int(path.stem),
        str(facts["field"]),
        str(facts["units"]),
        truth.astype(np.float64),
        prediction.astype(np.float64),
        int(facts["stride"]),
        shape,
    )
