"""`penstock logs`: what a program of a run has printed."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import RunError
from orchestrator.progress import follow
from orchestrator.record import Run, find_run


def logs(
    name: Annotated[str, typer.Argument(help="The program, as `penstock ps` names it.")],
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the program ends.")] = False,
    run_id: Annotated[str | None, typer.Option("--run", help="The run; the newest by default.")] = None,
    debug: Annotated[bool, typer.Option("--debug", hidden=True)] = False,
) -> None:
    """Show what a program of a run has printed."""
    run = find_run(run_id)
    log = _log(run, name)
    if follow_it:
        for piece in follow(log, lambda interval_s: _has_ended(run, name, interval_s)):
            print(piece, end="", flush=True)
    else:
        with log.open(errors="replace") as file:
            shutil.copyfileobj(file, sys.stdout)


def _log(run: Run, name: str) -> Path:
    jobs = {job.name: job.log for job in run.record.jobs}
    if name not in jobs:
        raise RunError(
            f"the run {run.run_id} has no program {name!r}; it has: {', '.join(jobs)}", run=run.run_id
        )
    return jobs[name]


def _has_ended(run: Run, name: str, interval_s: float) -> bool:
    """Ask the record after a while; a driver that died wrote no end, so ask whether it lives."""
    time.sleep(interval_s)
    now = run.again()
    job = next(job for job in now.record.jobs if job.name == name)
    return job.ended is not None or not now.alive
