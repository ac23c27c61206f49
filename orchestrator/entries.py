"""What files of a run say of one program: its line in a record, and what an element of an array reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.watcher import read_stat

Pid = Annotated[int, Field(gt=0, le=1 << 22)]


class Entry(BaseModel):
    """A part of a record. Facts that a later Penstock adds are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ProcessEntry(Entry):
    """Who a process is: a number alone is given again."""

    pid: Pid
    start_time: int


class RankEntry(Entry):
    """Where a rank is."""

    host: str
    cores: list[int]
    gpus: list[int]


class JobEntry(Entry):
    """One program; as a Job names its facts. It has `cores` and `gpus` where all is on one host.

    Those of the databases beside it are in `beside`. A member of an array has the number of its element.
    """

    name: str
    command: list[str]
    pid: Pid | None
    start_time: int | None
    cores: list[int] | None
    gpus: list[int] | None
    ranks: list[RankEntry] | None = None
    beside: list[RankEntry] = []
    state: str
    returncode: int | None
    started: float | None
    ended: float | None
    log: Path
    attempts: int = 1
    reason: str | None = None
    parameters: dict[str, Any] = {}
    files: list[dict[str, str]] = []
    element: int | None = None

    def is_running(self) -> bool:
        """Tell whether its process is there; asked of the system, not the record."""
        stat = read_stat(self.pid) if self.pid is not None else None
        return stat is not None and stat.state not in "ZX" and stat.start_time == self.start_time


class PolicyEntry(Entry):
    """How an element treats a member."""

    timeout_s: float | None
    retries: int
    pause_s: float


class MemberEntry(Entry):
    """A member of an array, as its element starts it."""

    name: str
    command: list[str]
    directory: Path
    environment: dict[str, str]
    ranks: int | None
    parameters: dict[str, Any]
    policy: PolicyEntry


def damage(error: ValidationError) -> str:
    """Say where what was read is not what it should be, and how."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
