"""`penstock run --on SCHEDULER`: submit a run as a batch job, followed by `ps`, `logs` and `stop`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.config import load_config
from orchestrator.errors import SchedulerError, UsageError
from orchestrator.progress import say
from orchestrator.record import Run
from orchestrator.recording import write_queued
from orchestrator.resuming import claim, run_to_resume
from orchestrator.run_files import RunFiles, read_record
from orchestrator.schedulers.base import Batch, Scheduler
from orchestrator.schedulers.table import BatchJob
from orchestrator.script import Options

PENSTOCK = (sys.executable, "-u", "-m", "orchestrator.cli")


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
    if not options.preview:
        _queue(directory.name, files, script, scheduler)


def submit_resumed(run: Run, options: Options, scheduler: Scheduler, batch: Batch) -> None:
    """Submit a batch job that goes on with a run; until it begins the run stays what it is.

    Args:
        run: that can be resumed.
        options: those that were given now.
        scheduler: who gives the job.
        batch: what is asked for.

    Raises:
        ResumeError: somebody goes on with it already.
        UsageError, SchedulerError: as `submit_run` does.
    """
    check_options(options, scheduler)
    name = run.record.experiment
    files = RunFiles.plan(name, run.directory, resume=True)
    driver = (*PENSTOCK, "run", f"--resume={run.directory}", *_of_the_driver(options))
    script = scheduler.script(name, batch, driver, log=files.batch_log, working_directory=Path.cwd())
    print(script, end="", flush=True)
    lock = claim(files)
    try:
        _queue(name, files, script, scheduler, read_record(run_to_resume(run.directory).directory))
    finally:
        os.close(lock)


def _queue(
    name: str,
    files: RunFiles,
    script: str,
    scheduler: Scheduler,
    earlier: Mapping[str, Any] | None = None,
) -> None:
    scheduler.check(script)

    def write(job: BatchJob) -> None:
        write_queued(name, files, job, earlier=earlier)

    job = files.create_queued(script, lambda: submitted(scheduler, script, write))
    say(f"submitted {files.run_id} as job {job}; run directory {files.directory}")
    say("`penstock ps` shows it, `penstock logs batch -f` what it says, `penstock stop` ends it")


def submitted(scheduler: Scheduler, script: str, write: Callable[[BatchJob], None]) -> str:
    """Submit a job that waits, write the record that names it, let it go, and return its number.

    Whatever goes wrong with the record, no job is left, or it is named.
    """
    number = scheduler.submit(script)
    try:
        write(BatchJob(scheduler, number))
        scheduler.release(number)
    except BaseException:
        try:
            scheduler.cancel(number)
        except SchedulerError as error:
            say(f"the job {number} is left, and is to be ended by hand: {error}")
        raise
    return number


def check_options(options: Options, scheduler: Scheduler) -> None:
    """Refuse options that are of a run here.

    Raises:
        UsageError: naming them.
    """
    if options.hosts is not None or options.as_json:
        raise UsageError(f"--hosts and --json do not go with --on: {scheduler.title} chooses the hosts")
    options.launch_options()  # or it is refused here


def _driver(directory: Path, files: RunFiles, options: Options) -> Iterator[str]:
    """Yield the words of the driver's command."""
    yield from (*PENSTOCK, "run", str(directory))
    yield f"--run-dir={files.directory}"
    yield from ("--quick",) * options.quick
    yield from (f"--set={override}" for override in options.overrides)
    yield from _of_the_driver(options)


def _of_the_driver(options: Options) -> Iterator[str]:
    """Yield the options that a run may be given anew when it is resumed."""
    yield from ("--debug",) * options.debug
    yield from (f"--{name}={seconds}" for name, seconds in options.times().items() if seconds is not None)
    yield from (f"--launcher={options.launcher}",) * (options.launcher is not None)
    yield from (f"--mpiexec={options.mpiexec}",) * (options.mpiexec is not None)
