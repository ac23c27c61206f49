"""Snapshots in files: damaged, exchanged, and places that are not theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim_clients import Bound, IncompleteSnapshot, MemoryClient, MemoryDatabase, SnapshotError, spill

U = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return spill.write(tmp_path, "snapshots", "a.0.1", {"u": U})


def read(place: Path) -> dict[str, np.ndarray]:
    return spill.read(place, "here", "a.0.1", ["u"])


@pytest.mark.parametrize("value", [U, np.asfortranarray(U), np.float32(1.5).reshape(()), np.zeros((0, 3))])
def test_what_was_written_is_read(tmp_path: Path, value: np.ndarray) -> None:
    found = read(spill.write(tmp_path, "snapshots", "a.0.1", {"u": value}))["u"]
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage, and more than a header of it",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,)}\n") + bytes(8),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n") + bytes(8),
        header("{'descr': '<f8'"),
        b"\x93NUMPY\x09\x00" + bytes(60),
    ],
    ids=["empty", "garbage", "huge", "negative", "objects", "cut", "version"],
)
def test_a_damaged_file_is_named(place: Path, content: bytes) -> None:
    (place / "u.npy").write_bytes(content)
    with pytest.raises(SnapshotError, match=r"a\.0\.1.*u\.npy: it is no file of an array"):
        read(place)


def test_a_cut_file_is_named(place: Path) -> None:
    path = place / "u.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(SnapshotError, match="it is no file of an array"):
        read(place)


def test_a_file_that_is_not_there_is_named_with_its_host(place: Path) -> None:
    (place / "u.npy").unlink()
    with pytest.raises(IncompleteSnapshot, match=r"host here.*u\.npy: No such file"):
        read(place)


def test_only_the_directory_of_the_snapshot_is_emptied_and_of_arrays_only(
    tmp_path: Path, place: Path
) -> None:
    others = tmp_path / "results"
    others.mkdir()
    (others / "precious.npy").write_bytes(b"x")
    spill.remove(others, "snapshots", "a.0.1")
    spill.remove(place, "snapshots", "a.0.2")
    assert (others / "precious.npy").exists() and (place / "u.npy").exists()
    (place / "notes.txt").write_text("mine")
    spill.remove(place, "snapshots", "a.0.1")
    assert [path.name for path in place.iterdir()] == ["notes.txt"]
    (place / "notes.txt").unlink()
    spill.remove(place, "snapshots", "a.0.1")
    assert not place.exists()


def test_a_file_that_was_exchanged_is_held_to_the_contract(tmp_path: Path) -> None:
    client = MemoryClient(MemoryDatabase(), "a")
    client.bound_stream(Bound(items=1, policy="spill", directory=tmp_path))
    for step in range(2):
        client.put_snapshot(step, {"u": U})
    (path,) = tmp_path.rglob("u.npy")
    np.save(path, U.astype(np.float32))
    with pytest.raises(
        SnapshotError,
        match=r"'u' is float32 \(2, 3\); .* float64 \(2, 3\) .*files in .*a\.0\.1",
    ):
        client.get_snapshot(1)
