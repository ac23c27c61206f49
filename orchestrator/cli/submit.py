"""`penstock run --on SCHEDULER`: submit a run as a batch job, followed by `ps`, `logs` and `stop`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.config import load_config
from orchestrator.errors import UsageError
from orchestrator.progress import say
from orchestrator.recording import write_queued
from orchestrator.run_files import RunFiles
from orchestrator.schedulers.base import Batch, Scheduler
from orchestrator.schedulers.table import BatchJob
from orchestrator.script import Options


def submit_run(directory: Path, options: Options, scheduler: Scheduler, batch: Batch) -> None:
    """Write the batch script of a run, show it, and submit it; or only show it.

    Raises:
        UsageError: options that do not go together, or a wrong value for the configuration.
        SchedulerError: there is none, or it refuses.
    """
    check_options(options, scheduler)
    load_config(directory, quick=options.quick, overrides=options.overrides)
    files = RunFiles.plan(directory.name, options.run_dir)
    driver = tuple(_driver(directory, files, options))
    script = scheduler.script(
        directory.name, batch, driver, log=files.batch_log, working_directory=Path.cwd()
    )
    print(script, end="", flush=True)
    if options.preview:
        return
    scheduler.check(script)
    job = files.create_queued(script, lambda: scheduler.submit(script))
    try:
        write_queued(directory.name, files, BatchJob(scheduler, job))
        scheduler.release(job)
    except BaseException:
        scheduler.cancel(job)
        raise
    say(f"submitted {files.run_id} as job {job}; run directory {files.directory}")
    say("`penstock ps` shows it, `penstock logs batch -f` what it says, `penstock stop` ends it")


def check_options(options: Options, scheduler: Scheduler) -> None:
    """Refuse options that are of a run here.

    Raises:
        UsageError: naming them.
    """
    if options.hosts is not None or options.as_json:
        raise UsageError(f"--hosts and --json do not go with --on: {scheduler.title} chooses the hosts")


def _driver(directory: Path, files: RunFiles, options: Options) -> Iterator[str]:
    """Yield the words of the driver's command."""
    yield from (sys.executable, "-u", "-m", "orchestrator.cli", "run", str(directory))
    yield f"--run-dir={files.directory}"
    yield from ("--quick",) * options.quick
    yield from ("--debug",) * options.debug
    yield from (f"--set={override}" for override in options.overrides)
    yield from (f"--launcher={options.launcher}",) * (options.launcher is not None)
    yield from (f"--mpiexec={options.mpiexec}",) * (options.mpiexec is not None)
