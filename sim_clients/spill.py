"""Snapshots in files: `<directory>/<stream>/<snapshot>/<field>.npy`, as libpenstock's `c/spill.c` has them.

They are written beside their place and then moved there: a directory under its own name is whole. What the
database names as a place is only read, and only emptied of arrays, where it is one of these directories.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError  # of numpy, where a header ends too early

import numpy as np
from numpy.lib import format as npy

from sim_clients.contract import Contract, layout_of
from sim_clients.errors import IncompleteSnapshot, SnapshotError
from sim_clients.fields import Array
from sim_clients.snapshot import Snapshot


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
        remove(place, stream, snapshot)  # of the same step, put before
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
            fields[name] = _array(path)
        except OSError as error:
            raise IncompleteSnapshot(snapshot, f"{where}: {path}: {error.strerror or error}") from error
        except (ValueError, EOFError, TokenError) as error:
            raise SnapshotError(snapshot, f"{where}: {path}: it is no file of an array") from error
    return fields


def _array(path: Path) -> Array:
    """Read one file; the size that its header tells of is compared with the file's before memory is taken."""
    with path.open("rb") as file:
        version = npy.read_magic(file)  # type: ignore[no-untyped-call]
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _fortran, dtype = header(file)  # type: ignore[no-untyped-call]
        if math.prod(shape) * dtype.itemsize != os.fstat(file.fileno()).st_size - file.tell():
            raise ValueError("its header tells of another size than the file has")
        file.seek(0)
        array: Array = npy.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    return array


def check_contract(snapshot: Snapshot, stream: str, contract: Contract | None, place: Path) -> None:
    """Check that what was read from files is what the stream has.

    Args:
        snapshot: as it was read.
        stream: its stream.
        contract: of the stream, None where it has none.
        place: the directory of the files, for errors.

    Raises:
        SnapshotError: naming the field, what it is, what the stream has, and the directory.
    """
    if contract is None:
        return
    try:
        contract.check(stream, Contract.of(snapshot.name, layout_of(snapshot.fields, snapshot.about)))
    except SnapshotError as error:
        raise SnapshotError(
            snapshot.name, f"{error.reason}; it was read from the files in {place}"
        ) from error


def remove(place: Path, stream: str, snapshot: str) -> None:
    """Remove the arrays of a snapshot, and its directory if nothing else is in there.

    What this host does not see is left to those who do; another directory than this snapshot's is left alone.
    """
    if (place.parent.name, place.name) != (part(stream), part(snapshot)):
        return
    with contextlib.suppress(OSError):
        for path in place.glob("*.npy"):
            path.unlink(missing_ok=True)
        place.rmdir()


def part(name: str) -> str:
    """Return a name as one part of a path: a slash would begin another one, a first dot leave or hide it."""
    first = name[:1].replace(".", "%2E")
    return (first + name[1:]).replace("/", "%2F")
