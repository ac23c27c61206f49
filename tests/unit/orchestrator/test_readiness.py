"""How long servers may take to start."""

from __future__ import annotations

from pathlib import Path

from orchestrator.readiness import SLOWEST_BYTES_PER_S, START_TIMEOUT_S, start_time_s


def test_what_a_server_has_to_read_is_counted(tmp_path: Path) -> None:
    large = tmp_path / "shard_1" / "appendonlydir" / "appendonly.aof"
    large.parent.mkdir(parents=True)
    with large.open("wb") as file:
        file.truncate(int(100 * SLOWEST_BYTES_PER_S))
    directories = [tmp_path / "shard_0", tmp_path / "shard_1"]
    assert start_time_s(directories) == START_TIMEOUT_S + 100
    assert start_time_s(directories[:1]) == START_TIMEOUT_S
    assert start_time_s([]) == START_TIMEOUT_S
