"""The launchers, by name. A new one is a file beside these and a line here."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.launchers.base import Launcher
from orchestrator.launchers.dry_run import DryRunLauncher
from orchestrator.launchers.local import LocalLauncher

LAUNCHERS: dict[str, type[Launcher]] = {
    launcher.name: launcher for launcher in (LocalLauncher, DryRunLauncher)
}


def find_launcher(name: str) -> type[Launcher]:
    """Return the launcher of a name.

    Raises:
        UsageError: there is none; names those that are.
    """
    if name not in LAUNCHERS:
        raise UsageError(f"there is no launcher {name!r}; there are: {', '.join(LAUNCHERS)}")
    return LAUNCHERS[name]
