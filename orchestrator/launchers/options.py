"""What a user chooses about the start of programs, as `penstock run` hands it to an Experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.hosts import Inventory


@dataclass(frozen=True)
class LaunchOptions:
    """How an Experiment starts its programs.

    Attributes:
        launcher: its name.
        hosts: where; what the launcher finds by itself when there is none.
        preview: start nothing, and show at the end what would have been started.
        show: how; gets the Preview, whose text is printed by default.
        mpiexec: of the launcher mpi; the one on PATH by default.
        extra_args: further arguments of mpiexec, before those of the launcher.
    """

    launcher: str = "local"
    hosts: Inventory | None = None
    preview: bool = False
    show: Callable[[Any], None] = print
    mpiexec: str | Path | None = None
    extra_args: tuple[str, ...] = ()
