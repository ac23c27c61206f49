"""Which redis-servers run for a program, and on which cores: as the operating system tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from orchestrator.watcher import everybody


def cores_of_threads(pid: int) -> set[str]:
    """Return on which cores the threads of a process may run, as its operating system tells."""
    statuses = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    assert statuses
    lines = [line for text in statuses for line in text.splitlines() if line.startswith("Cpus_allowed_list")]
    assert len(lines) == len(statuses)
    return {line.split()[1] for line in lines}


def servers_in(directory: Path) -> list[int]:
    """Return the redis-servers that run below a directory."""
    return list(_servers_in(directory))


def _servers_in(directory: Path) -> Iterator[int]:
    for stat in everybody():
        try:
            words = Path(f"/proc/{stat.pid}/cmdline").read_bytes().split(b"\0")
            inside = Path(f"/proc/{stat.pid}/cwd").resolve().is_relative_to(directory)
        except OSError:
            continue
        if inside and b"redis-server" in Path(os.fsdecode(words[0])).name.encode():
            yield stat.pid
