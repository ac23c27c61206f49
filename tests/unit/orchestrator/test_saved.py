"""Directories that hold a saved database, or should: each defect is named before anything starts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Experiment, Orchestrator
from orchestrator.binaries import find_redis_server
from orchestrator.cluster import slot_ranges
from orchestrator.errors import SavedError
from orchestrator.saved import read_saved

LISTED = (
    '{"penstock_database": 1, "saved": 0, "origin": "/", "redis": "7.0.0", "modules": {}, "shards": [%s]}'
)


def saved(directory: Path, shards: int = 2, **changed: Any) -> Path:
    """Write what looks like a saved database."""
    directory.mkdir()
    entries = []
    for number, slots in enumerate(slot_ranges(shards)):
        data = b"REDIS" + bytes([number]) * 1000
        (directory / f"shard_{number}.rdb").write_bytes(data)
        entries.append(
            {
                "file": f"shard_{number}.rdb",
                "slots": [slots.start, slots.stop - 1] if shards > 1 else None,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    facts = {
        "penstock_database": 1,
        "saved": 0.0,
        "origin": "/run",
        "redis": "6.2.0",
        "modules": {},
        "shards": entries,
    }
    (directory / "saved.json").write_text(json.dumps({**facts, **changed}))
    return directory


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    found = read_saved(saved(tmp_path / "s"))
    assert [shard.slots for shard in found.shards] == [(0, 8191), (8192, 16383)]
    assert found.directory == tmp_path / "s"


def test_a_missing_directory_and_a_foreign_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(SavedError, match=r"nowhere.*no saved database: it has no saved\.json"):
        read_saved(tmp_path / "nowhere")
    (tmp_path / "dump.rdb").write_bytes(b"REDIS0011")
    with pytest.raises(SavedError, match=r"it has no saved\.json"):
        read_saved(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "is none of Penstock's"),
        ('{"run": "x"}', "is none of Penstock's"),
        ('{"penstock_database": 2}', "has version 2, known is 1"),
        ('{"penstock_database": 1}', "saved: Field required"),
        (LISTED % "", "shards: "),
        (LISTED % '{"file": "../x.rdb", "slots": null, "bytes": 1, "sha256": ""}', r"shards\.0\.file: "),
    ],
)
def test_a_list_that_is_none_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "saved.json").write_text(text)
    with pytest.raises(SavedError, match=rf"saved\.json: .*{said}"):
        read_saved(tmp_path)


def test_an_incomplete_one_names_the_file(tmp_path: Path) -> None:
    (saved(tmp_path / "s") / "shard_1.rdb").unlink()
    with pytest.raises(SavedError, match=r"shard_1\.rdb: the file is missing") as caught:
        read_saved(tmp_path / "s")
    assert caught.value.path == tmp_path / "s" / "shard_1.rdb"


def test_a_cut_and_a_changed_file_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "s") / "shard_0.rdb"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(SavedError, match=r"shard_0\.rdb: it has 1004 bytes, of 1005"):
        read_saved(tmp_path / "s")
    path.write_bytes(data[:-1] + b"\xff")
    with pytest.raises(SavedError, match=r"shard_0\.rdb: its checksum"):
        read_saved(tmp_path / "s")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"redis": "99.0.1"}, r"Redis 99\.0\.1 has written it"),
        ({"modules": {"ai": 1}}, "needs the module 'ai'"),
    ],
)
def test_one_that_this_database_cannot_hold_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = saved(tmp_path / "s", **changed)
    with Experiment("e", "dry_run") as exp, pytest.raises(SavedError, match=said):
        exp.start(Orchestrator(shards=2, module=(), restore_from=directory))


def test_another_number_of_shards_is_refused_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_redis_server()
    directory = saved(tmp_path / "s", shards=3)
    for shards in (1, 2):
        said = f"data of 3 shard.*among {shards}; give shards=3"
        with Experiment("e", "dry_run") as exp, pytest.raises(SavedError, match=said):
            exp.start(Orchestrator(shards=shards, module=(), restore_from=directory))


def test_modules_that_are_a_part_of_the_server_are_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    directory = saved(tmp_path / "s", modules={"vectorset": 1})
    with Experiment("e", "dry_run") as exp:
        exp.start(Orchestrator(shards=2, module=(), restore_from=directory))
