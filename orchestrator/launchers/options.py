"""What a user chooses about the start of programs, as `penstock run` hands it to an Experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.hosts import Inventory
from orchestrator.launchers.base import Launcher
from orchestrator.launchers.dry_run import DryRunLauncher
from orchestrator.launchers.table import find_launcher


@dataclass(frozen=True)
class LaunchOptions:
    """How an Experiment starts its programs.

    Attributes:
        launcher: its name.
        hosts: where; what the launcher finds by itself when there is none.
        preview: start nothing, and show at the end what would have been started.
        show: how; gets the Preview, whose text is printed by default.
    """

    launcher: str = "local"
    hosts: Inventory | None = None
    preview: bool = False
    show: Callable[[Any], None] = print

    def __post_init__(self) -> None:
        kind = find_launcher(self.launcher)
        if self.hosts is not None and not (kind.elsewhere or self.dry):
            raise UsageError(
                f"the launcher {self.launcher!r} starts programs on this host alone; "
                "other hosts need a preview, or another launcher"
            )

    @property
    def dry(self) -> bool:
        """Whether nothing is really started."""
        return self.preview or find_launcher(self.launcher).dry

    def make(self, started: Callable[[int], None]) -> Launcher:
        """Make the launcher, which tells `started` the number of each local process it starts."""
        kind = find_launcher(self.launcher)
        if self.preview and not kind.dry:
            return DryRunLauncher(started, self.hosts, of=kind)
        return kind(started, self.hosts)
