"""`penstock run --on slurm`: submit a run as a batch job, which `ps`, `logs` and `stop` follow from here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.batch import Batch, batch_script
from orchestrator.config import load_config
from orchestrator.errors import UsageError
from orchestrator.progress import say
from orchestrator.recording import write_queued
from orchestrator.run_files import RunFiles
from orchestrator.script import Options
from orchestrator.slurm import cancel, check_script, release, submit


def submit_run(directory: Path, options: Options, batch: Batch) -> None:
    """Write the batch script of a run, show it, and submit it; or only show it.

    Raises:
        UsageError: options that do not go together, or a wrong value for the configuration.
        SlurmError: there is no Slurm, or it refuses.
    """
    if options.hosts is not None or options.as_json:
        raise UsageError("--hosts and --json do not go with --on: Slurm chooses the hosts")
    load_config(directory, quick=options.quick, overrides=options.overrides)
    files = RunFiles.plan(directory.name, options.run_dir)
    driver = tuple(_driver(directory, files, options))
    script = batch_script(directory.name, batch, driver, log=files.batch_log, working_directory=Path.cwd())
    print(script, end="", flush=True)
    if options.preview:
        return
    check_script(script)
    job = files.create_queued(script, lambda: submit(script))
    try:
        write_queued(directory.name, files, job)
        release(job)
    except BaseException:
        cancel(job)
        raise
    say(f"submitted {files.run_id} as job {job}; run directory {files.directory}")
    say("`penstock ps` shows it, `penstock logs batch -f` what it says, `penstock stop` ends it")


def _driver(directory: Path, files: RunFiles, options: Options) -> Iterator[str]:
    """Yield the words of the driver's command."""
    yield from (sys.executable, "-u", "-m", "orchestrator.cli", "run", str(directory))
    yield f"--run-dir={files.directory}"
    yield from ("--quick",) * options.quick
    yield from ("--debug",) * options.debug
    yield from (f"--set={override}" for override in options.overrides)
    yield from (f"--launcher={options.launcher}",) * (options.launcher is not None)
    yield from (f"--mpiexec={options.mpiexec}",) * (options.mpiexec is not None)
