"""The launchers, by name. A new one is a file beside these and a line here."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import UsageError
from orchestrator.launchers.base import Launcher
from orchestrator.launchers.dry_run import DryRunLauncher
from orchestrator.launchers.local import LocalLauncher
from orchestrator.launchers.mpi import MpiLauncher
from orchestrator.launchers.options import AUTO, LaunchOptions
from orchestrator.launchers.pbs import PbsLauncher
from orchestrator.launchers.slurm import SlurmLauncher
from orchestrator.launchers.smartsim import SmartSimLauncher
from orchestrator.schedulers.table import job_here
from orchestrator.watcher import Session

LAUNCHERS: dict[str, type[Launcher]] = {
    launcher.name: launcher
    for launcher in (
        LocalLauncher,
        MpiLauncher,
        SlurmLauncher,
        PbsLauncher,
        SmartSimLauncher,
        DryRunLauncher,
    )
}


def find_launcher(name: str) -> type[Launcher]:
    """Return the launcher of a name; "auto" is that of this job's scheduler, and local outside of any.

    Raises:
        UsageError: there is none; names those that are.
    """
    if name == AUTO:
        job = job_here()
        return LocalLauncher if job is None else LAUNCHERS[job.scheduler.name]
    if name not in LAUNCHERS:
        raise UsageError(f"there is no launcher {name!r}; there are: {', '.join((*LAUNCHERS, AUTO))}")
    return LAUNCHERS[name]


def is_dry(options: LaunchOptions) -> bool:
    """Tell whether nothing is really started."""
    return options.preview or find_launcher(options.launcher).dry


def check_options(options: LaunchOptions) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: naming them.
    """
    kind = find_launcher(options.launcher)
    for name in ("mpiexec", "scheduler", "extra_args"):
        if getattr(options, name) and name not in kind.takes:
            raise UsageError(f"{name}={getattr(options, name)!r}: the launcher {kind.name!r} has none")
    if options.hosts is not None and not (kind.elsewhere or is_dry(options)):
        others = ", ".join(each.name for each in LAUNCHERS.values() if each.elsewhere and not each.dry)
        raise UsageError(
            f"the launcher {kind.name!r} starts programs on this host alone; "
            f"other hosts need a preview, or one of the launchers {others}"
        )


def make_launcher(options: LaunchOptions, started: Callable[[Session], None]) -> Launcher:
    """Make a launcher, which tells `started` of each process of this host that it starts."""
    kind = find_launcher(options.launcher)
    if options.preview and not kind.dry:
        return DryRunLauncher(started, options, of=kind)
    return kind(started, options)
