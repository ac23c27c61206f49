"""`penstock logs`: what a program of a run has printed."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.array_files import element_log
from orchestrator.cli.options import Debug
from orchestrator.errors import RunError
from orchestrator.progress import follow, say
from orchestrator.record import Run, find_run, jobs_of
from orchestrator.run_files import batch_log_of
from orchestrator.script import INTERRUPTED

BATCH = "batch"
ELEMENT = "element_"


def logs(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A program, as `penstock ps` names it; batch; or element_0, … of an array."
        ),
    ],
    follow_it: Annotated[
        bool, typer.Option("--follow", "-f", metavar="", help="Go on until the program ends.")
    ] = False,
    run_id: Annotated[str | None, typer.Option("--run", help="The run; the newest by default.")] = None,
    debug: Debug = False,
) -> None:
    """Show what a program of a run has printed."""
    run = find_run(run_id)
    log = _log(run, name)
    if not log.exists() and not (follow_it and name == BATCH):
        say(f"{name} has not been started")
        return
    if not follow_it and log.stat().st_size == 0:
        say(f"{name} has printed nothing yet")
    if follow_it:
        _follow(run, name, log)
    else:
        with log.open(errors="replace") as file:
            shutil.copyfileobj(file, sys.stdout)


def _follow(run: Run, name: str, log: Path) -> None:
    """Show what comes until the program ends, or until the reader has seen enough."""
    try:
        for piece in follow(log, lambda interval_s: _has_ended(run, name, interval_s)):
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _log(run: Run, name: str) -> Path:
    jobs = {job.name: job.log for job in run.record.jobs}
    for element in range(run.record.array or 0):
        jobs[f"{ELEMENT}{element}"] = element_log(run.directory, element)
    if run.record.batch is not None and run.record.array is None:
        jobs[BATCH] = batch_log_of(run.directory)
    if name not in jobs:
        raise RunError(
            f"the run {run.run_id} has no program {name!r}; it has: {', '.join(jobs)}", run=run.run_id
        )
    return jobs[name]


def _has_ended(run: Run, name: str, interval_s: float) -> bool:
    """Ask the record after a while; a driver that died wrote no end, so ask whether it lives."""
    time.sleep(interval_s)
    if name == BATCH:  # the script may go on after its Experiment
        return run.record.batch not in jobs_of(run.record.scheduler)
    now = run.again()
    job = next((job for job in now.record.jobs if job.name == name), None)
    if job is None:  # an element of an array
        return not now.alive
    return job.ended is not None or not now.alive
