"""Specimens: a few held-out fields, as they are and as each posted network has them, for pictures of a run.

A file for each posted version, `specimens/<version>.npz`, is bounded in samples and bytes, and so is how many
files there are: the first one stays, then the last ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from sim_clients.fields import Array
from trainers.answering import predicted
from trainers.drafts import draft_of, remove_stale
from trainers.errors import FileNotWritten

FOLDER = "specimens"
SAMPLES = 3
MOST_BYTES = 1 << 20
"""Of one field of one sample; of a larger one every second, third, … point is kept in each direction."""
MOST_FILES = 8


def write_specimen(
    directory: Path,
    version: int,
    field: str,
    truth: Array,
    predict: Callable[[int], Array],
    units: str | None = None,
) -> Path:
    """Write the specimens of a version, and remove those of versions in between where there are too many.

    Args:
        directory: of the training.
        version: as it was posted.
        field: the name of what is predicted.
        truth: `(samples, …)`, of which the first few are taken.
        predict: gives the network's answers to the first so many samples, in the shape of the truth.
        units: of the field.

    Raises:
        FileNotWritten: the disk is full, say; no file is left half written.
    """
    count = min(SAMPLES, len(truth))
    stride = stride_of(truth.shape[1:], truth.dtype.itemsize)
    thinned = (slice(None), *(slice(None, None, stride) for _ in truth.shape[1:]))
    path = directory / FOLDER / f"{version}.npz"
    arrays = {
        "truth": truth[:count][thinned],
        "prediction": predict(count)[thinned],
        "field": np.array(field),
        "units": np.array(units or ""),
        "stride": np.array(stride),
        "shape": np.array(truth.shape[1:], np.int64),
    }
    _write(path, arrays)
    for old in superfluous([int(each.stem) for each in path.parent.glob("*.npz") if each.stem.isdecimal()]):
        (path.parent / f"{old}.npz").unlink(missing_ok=True)
    return path


def keep_specimen(
    directory: Path,
    version: int,
    network: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    target: str,
    truth: torch.Tensor,
    units: str | None,
) -> Path:
    """Write the specimens of a network that was posted; see `write_specimen`.

    Args:
        inputs: of held-out samples, a batch of each field, in the order of the network's arguments.
        target: the field whose value one jump later the network gives.
        truth: that value, (batch, …).
    """

    def predict(count: int) -> Array:
        found: Array = predicted(network, inputs)[0][:count].cpu().numpy()
        return found

    return write_specimen(directory, version, target, truth.cpu().numpy(), predict, units)


def stride_of(shape: Sequence[int], itemsize: int) -> int:
    """Return the least stride with which a field is small enough."""
    stride = 1
    while itemsize * np.prod([-(-points // stride) for points in shape], dtype=float) > MOST_BYTES:
        stride += 1
    return stride


def superfluous(versions: Sequence[int]) -> list[int]:
    """Return the versions whose files go: all but the first and the last ones."""
    ordered = sorted(versions)
    return ordered[1 : len(ordered) - MOST_FILES + 1] if len(ordered) > MOST_FILES else []


def _write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a file that is whole or not there; who reads beside the training never sees half of one.

    Raises:
        FileNotWritten: for want of room or permission.
    """
    draft = draft_of(path)
    try:
        path.parent.mkdir(exist_ok=True)
        remove_stale(path.parent, r"[0-9]+\.npz")
        with draft.open("wb") as file:
            np.savez_compressed(file, **arrays)
        draft.replace(path)
    except OSError as error:
        raise FileNotWritten(path, error.strerror or str(error)) from error
    finally:
        with suppress(OSError):  # of a directory that cannot be written to, where there is none
            draft.unlink(missing_ok=True)
