"""Everything a trainer needs to go on after it was killed, in one file that is either old or new."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sim_clients.fields import Array
from trainers.drafts import draft_of, remove_stale
from trainers.errors import CheckpointError, CheckpointNotWritten

State = dict[str, Any]

_ARRAY = "numpy array"
"""Key of the one-entry dict that stands for an array in the file, so that reading it runs no foreign code."""
_COLUMNS = "list of samples"
"""Key of the one-entry dict that stands for a list of alike samples: one tensor per field, not per sample."""


def save(path: Path, state: State) -> None:
    """Write a state; a crash at any moment leaves the file as it was, or as it shall be.

    Args:
        state: nested dicts, lists and tuples of numbers, texts, tensors and arrays.

    Raises:
        CheckpointNotWritten: for want of room or permission.
    """
    draft = draft_of(path)
    try:
        remove_stale(path.parent, re.escape(path.name))
        with draft.open("wb") as file:
            torch.save(_packed(state), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # of torch's writer, which hides the OSError that it met
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise CheckpointNotWritten(path, cause.strerror or str(cause), has_older=path.exists()) from cause
    finally:
        with suppress(OSError):  # of a directory that cannot be written to, where there is none
            draft.unlink(missing_ok=True)


def load(path: Path) -> State | None:
    """Read a state, None where there is none.

    Raises:
        CheckpointError: the file is no checkpoint, or its checksums (CRC-32) are not those of what it holds.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at them
        if damaged is not None:
            raise CheckpointError(path, f"it is damaged, in its part {damaged!r}")
        state = _unpacked(torch.load(path, weights_only=True, map_location="cpu"))
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError) as error:
        raise CheckpointError(path, _first_line(error)) from error
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise CheckpointError(path, f"it is damaged, or no checkpoint: {_first_line(error)}") from error
    if not isinstance(state, dict):
        raise CheckpointError(path, f"it holds a {type(state).__name__}, not a state")
    return state


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: torch.from_numpy(value)}
    if isinstance(value, dict):
        return {key: _packed(item) for key, item in value.items()}
    if isinstance(value, list) and _are_alike(value):
        return {_COLUMNS: {name: torch.from_numpy(np.stack([s[name] for s in value])) for name in value[0]}}
    if isinstance(value, (list, tuple)):
        return type(value)(_packed(item) for item in value)
    return value


def _are_alike(samples: list[Any]) -> bool:
    """Tell whether these are samples with the same fields of the same shapes and dtypes."""

    def layout(sample: Any) -> Any:
        if not isinstance(sample, dict) or not all(isinstance(a, np.ndarray) for a in sample.values()):
            return None
        return [(name, array.dtype, array.shape) for name, array in sample.items()]

    first = layout(samples[0]) if samples else None
    return bool(first) and all(layout(sample) == first for sample in samples)


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return value[_ARRAY].numpy()
        if value.keys() == {_COLUMNS}:
            return _samples_of(value[_COLUMNS])
        return {key: _unpacked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_unpacked(item) for item in value)
    return value


def _samples_of(columns: dict[str, torch.Tensor]) -> list[dict[str, Array]]:
    """Return the samples of columns, which are used up, each in memory of its own: they leave one by one."""
    samples: list[dict[str, Array]] = [{} for _ in next(iter(columns.values()))]
    for name in list(columns):
        for sample, value in zip(samples, columns.pop(name).numpy(), strict=True):
            sample[name] = np.array(value)
    return samples
