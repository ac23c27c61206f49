"""Checkpoints: everything comes back, and a crash leaves the old one."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers import CheckpointError, CheckpointNotWritten, checkpoint
from trainers.distributed import ALONE
from trainers.shared_checkpoint import SharedCheckpoint


def test_everything_comes_back(tmp_path: Path) -> None:
    state = {
        "array": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "list": [{"u": np.zeros(2)}, (1, 2.5, None, "text", True)],
        "tensor": torch.ones(3),
        "generator": np.random.default_rng(1).bit_generator.state,
    }
    checkpoint.save(tmp_path / "c.pt", state)
    found = checkpoint.load(tmp_path / "c.pt")
    assert found is not None
    np.testing.assert_array_equal(found["array"], state["array"])
    assert found["array"].dtype == np.uint16
    np.testing.assert_array_equal(found["list"][0]["u"], np.zeros(2))
    assert found["list"][1] == (1, 2.5, None, "text", True)
    assert torch.equal(found["tensor"], torch.ones(3))
    assert found["generator"] == state["generator"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("shapes", [[(2, 3)] * 5, [(2,), (3,)], [(1,)], []])
def test_samples_come_back_alike_or_not(tmp_path: Path, shapes: list[tuple[int, ...]]) -> None:
    samples = [{"u": np.full(shape, i, np.float32), "k": np.array([i])} for i, shape in enumerate(shapes)]
    checkpoint.save(tmp_path / "c.pt", {"samples": samples})
    found = checkpoint.load(tmp_path / "c.pt")
    assert found is not None
    assert len(found["samples"]) == len(samples)
    for ours, theirs in zip(found["samples"], samples, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].base is None or ours[name].base.nbytes == ours[name].nbytes  # it leaves alone


def test_none_is_none(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "c.pt") is None


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half an archive", b"\x80\x04."])
def test_garbage_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(path)) as caught:
        checkpoint.load(path)
    assert caught.value.path == path


@pytest.mark.parametrize("left", [0.5, 0.9, 0.999])
def test_one_that_is_cut_off_is_named(tmp_path: Path, left: float) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"tensor": torch.arange(1000)})
    os.truncate(path, int(left * path.stat().st_size))
    with pytest.raises(CheckpointError, match=f"{path} cannot be used: it is damaged, or no checkpoint"):
        checkpoint.load(path)


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.pt").mkdir()
    with pytest.raises(CheckpointError, match=r"c\.pt cannot be used: .*directory"):
        checkpoint.load(tmp_path / "c.pt")


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path, generator, damaged = tmp_path / "c.pt", np.random.default_rng(0), 0
    state = {"tensor": torch.arange(1000), "step": 3}
    checkpoint.save(path, state)
    whole = path.read_bytes()
    for place in generator.integers(len(whole), size=100):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(flipped)
        try:  # what lies between the parts of the archive is not read
            found = checkpoint.load(path)
        except CheckpointError:
            damaged += 1
        else:
            assert found is not None and torch.equal(found["tensor"], state["tensor"]) and found["step"] == 3
    assert damaged > 70


def test_drafts_of_the_dead_are_removed_and_of_the_living_not(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for name in (f".c.pt.{ended.pid}", f".c.pt.{os.getppid()}", f".other.pt.{ended.pid}", ".c.pt.mine"):
        (tmp_path / name).write_bytes(b"half")
    checkpoint.save(tmp_path / "c.pt", {"step": 1})
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"c.pt", f".c.pt.{os.getppid()}", f".other.pt.{ended.pid}", ".c.pt.mine"}


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="list"):
        checkpoint.load(tmp_path / "c.pt")


def test_a_save_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"step": 1})

    class Unpicklable:
        def __reduce__(self) -> str:
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        checkpoint.save(path, {"step": 2, "bad": Unpicklable()})
    assert checkpoint.load(path) == {"step": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["c.pt"]


@contextmanager
def room_for(nbytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: a write fails in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_with_what_is_still_there(tmp_path: Path) -> None:
    path, large = tmp_path / "c.pt", {"tensor": torch.zeros(100_000)}
    with room_for(20_000), pytest.raises(CheckpointNotWritten, match="none before it, and what was read"):
        checkpoint.save(path, large)
    assert not list(tmp_path.iterdir())
    checkpoint.save(path, {"step": 1})
    with room_for(20_000), pytest.raises(CheckpointNotWritten) as caught:
        checkpoint.save(path, large)
    assert str(caught.value) == (
        f"the checkpoint {path} could not be written: File too large; "
        "the one written before it is whole, and is gone on from"
    )
    assert checkpoint.load(path) == {"step": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_disk_that_is_full_from_the_first_byte(tmp_path: Path) -> None:
    (tmp_path / f".c.pt.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(CheckpointNotWritten, match="No space left on device"):
        checkpoint.save(tmp_path / "c.pt", {"step": 1})
    assert not list(tmp_path.iterdir())


def test_what_is_no_state_is_no_matter_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="pickle") as caught:
        checkpoint.save(tmp_path / "c.pt", {"function": lambda: None})
    assert not isinstance(caught.value, CheckpointNotWritten)


def test_files_of_the_user_beside_it_stay_and_old_shares_go(tmp_path: Path) -> None:
    users = [
        "c.pt.copy_of_monday",
        "c.pt.offline",
        "c.pt.before",
        "c.pt.1of2",
        "xc.pt.1of2.0",
        "c.pt.1of2.0.zip",
    ]
    for name in (*users, "c.pt.1of2.0", "c.pt.11of12.1"):
        (tmp_path / name).write_bytes(b"")
    SharedCheckpoint(tmp_path / "c.pt", ALONE).save({}, {"intake": {"stream": {"cursor": 3}}})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["c.pt", *users])
