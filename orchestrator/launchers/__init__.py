"""The launchers, by name. A new one is a file beside these and a line here."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import UsageError
from orchestrator.launchers.base import Launcher
from orchestrator.launchers.dry_run import DryRunLauncher
from orchestrator.launchers.local import LocalLauncher

LAUNCHERS: dict[str, Callable[[Callable[[int], None]], Launcher]] = {
    "local": LocalLauncher,
    "dry_run": lambda started: DryRunLauncher(),
}


def check_launcher(name: str) -> None:
    """Refuse a launcher that does not exist.

    Raises:
        UsageError: naming those that do.
    """
    if name not in LAUNCHERS:
        raise UsageError(f"there is no launcher {name!r}; there are: {', '.join(LAUNCHERS)}")


def make_launcher(name: str, started: Callable[[int], None]) -> Launcher:
    """Return a new launcher, which tells `started` the number of each local process it starts."""
    check_launcher(name)
    return LAUNCHERS[name](started)
