"""Snapshots in files: `<directory>/<stream>/<snapshot>/<field>.npy`, as libpenstock's `c/spill.c` has them.

They are written beside their place and then moved there: a directory under its own name is whole.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sim_clients.errors import IncompleteSnapshot, SnapshotError
from sim_clients.fields import Array


def write(directory: str | Path, stream: str, snapshot: str, fields: Mapping[str, Array]) -> Path:
    """Write the fields of a snapshot, and return their directory.

    Raises:
        SnapshotError: naming the path that cannot be written.
    """
    above = Path(directory) / part(stream)
    place, draft = above / part(snapshot), above / f".{part(snapshot)}"
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a program that was killed
        draft.mkdir(parents=True)
        for name, value in fields.items():
            np.save(draft / f"{part(name)}.npy", value)
        remove(place)  # of the same step in an earlier run
        draft.rename(place)
    except OSError as error:
        raise SnapshotError(snapshot, f"the snapshot cannot be spilled to {place}: {error}") from error
    return place


def read(place: Path, host: str, snapshot: str, names: list[str]) -> dict[str, Array]:
    """Read the fields of a snapshot.

    Args:
        place: its directory.
        host: where it was written.
        snapshot: its name, for errors.
        names: of its fields.

    Raises:
        IncompleteSnapshot: naming the host and the path of a file that is not seen here.
        SnapshotError: of one that is no array.
    """
    fields = {}
    for name in names:
        path = place / f"{part(name)}.npy"
        where = f"it was spilled to files on host {host}, and on {socket.gethostname()} cannot be read"
        try:
            fields[name] = np.load(path, allow_pickle=False)
        except OSError as error:
            raise IncompleteSnapshot(snapshot, f"{where}: {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise SnapshotError(snapshot, f"{where}: {path}: it is no file of an array") from error
    return fields


def remove(place: Path) -> None:
    """Remove the files of a snapshot; what this host does not see is left to those who do."""
    shutil.rmtree(place, ignore_errors=True)


def part(name: str) -> str:
    """Return a name as one part of a path: a slash would begin another one, a first dot leave or hide it."""
    first = name[:1].replace(".", "%2E")
    return (first + name[1:]).replace("/", "%2F")
