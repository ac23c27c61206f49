"""`penstock stop`: end runs, also those whose driver has gone."""

from __future__ import annotations

import os
import select
import shutil
import signal
import time
from typing import Annotated

import typer

from orchestrator.cli.options import Debug
from orchestrator.errors import RunError, UsageError, WaitTimeout
from orchestrator.guard import end_leftovers
from orchestrator.record import UNENDED, Known, Run, find_run, known_runs
from orchestrator.run_files import QUEUED
from orchestrator.schedulers.table import BatchJob, find_scheduler
from orchestrator.slurm import end_run

DEADLINE_S = 30.0
INTERVAL_S = 0.1


def stop(
    run_id: Annotated[
        str | None,
        typer.Argument(help="The run, or how its id begins; by default the only active one, and lost ones."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="Every run of yours on this host.")
    ] = False,
    debug: Debug = False,
) -> None:
    """End a run: its driver stops everything it has started."""
    if everything and run_id is not None:
        raise UsageError("give a run or --all, not both")
    runs, left_out = _chosen(run_id)
    for run in runs:
        if run.state == "lost":
            print(clean_up(run))
    active = [run for run in runs if run.state in (QUEUED, "active")]
    if len(active) > 1 and not everything:
        names = ", ".join(run.run_id for run in active)
        raise RunError(f"several runs are active, name one or say --all: {names}")
    for run in active:
        if run.record.batch is None or run.is_here:
            _end_driver(run)
        else:
            _end_batch(run, BatchJob(find_scheduler(run.record.scheduler), run.record.batch))
        print(f"stopped {run.run_id}")
    if left_out:
        raise RunError(f"these may still run, for nothing can be told of them: {', '.join(left_out)}")
    if not runs:
        print("no run is active")


def _chosen(run_id: str | None) -> Known:
    """Return the run of this id; by default all that may run."""
    if run_id is None:
        runs, left_out = known_runs()
        return Known([run for run in runs if run.state in UNENDED], left_out)
    run = find_run(run_id, unended=True)
    if run.state not in UNENDED:
        print(f"{run.run_id} has ended already: {run.state}")
    return Known([run], [])


def clean_up(run: Run) -> str:
    """End what a killed driver has left where its watcher was killed too, and close the record."""
    if run.record.array is not None:
        run.close(error=f"its job {run.record.batch} ended before its members had")
        return f"cleaned up {run.run_id}, whose job {run.record.batch} ended before its members had"
    if run.record.driver is None:
        run.close(error=f"its job {run.record.batch} ended before its driver had started")
        return f"cleaned up {run.run_id}, whose job {run.record.batch} ended before its driver had started"
    hit = end_leftovers(run.run_id, run.sessions) if run.is_here else set()  # elsewhere its job took all
    if run.record.allocation is not None:
        end_run(run.record.allocation, run.run_id, str(run.runtime))
    shutil.rmtree(run.runtime, ignore_errors=True)
    run.close()
    ended = f"ended {len(hit)} process{'es' if len(hit) > 1 else ''}" if hit else "nothing of it ran"
    return f"cleaned up {run.run_id}, whose driver was killed: {ended}"


def _end_batch(run: Run, job: BatchJob) -> None:
    """End a run whose driver is a batch job: cancel one that waits, tell one that runs to end, and wait.

    The batch system tells nobody of an end, so it is asked.
    """
    if run.state == QUEUED or run.record.array is not None:
        job.scheduler.cancel(job.number)
    else:
        job.scheduler.end_driver(job.number)
    deadline = time.monotonic() + DEADLINE_S
    while (now := run.again()).state in (QUEUED, "active"):
        if time.monotonic() > deadline:
            raise WaitTimeout(f"the end of {run.run_id}, job {job.number}", DEADLINE_S)
        time.sleep(INTERVAL_S)
    if now.state == "lost":
        who = "its members had ended" if run.record.array is not None else "its driver could"
        now.close("canceled", f"it was stopped before {who}")


def _end_driver(run: Run) -> None:
    """Tell the driver to end, and wait for the event of its end. The descriptor can name no other process."""
    if run.record.driver is None:
        return
    try:
        driver = os.pidfd_open(run.record.driver.pid)
    except ProcessLookupError:
        return  # it has ended by itself meanwhile
    try:
        if not run.again().alive:
            return
        signal.pidfd_send_signal(driver, signal.SIGTERM)
        ready, _, _ = select.select([driver], [], [], DEADLINE_S)
        if not ready:
            raise WaitTimeout(f"the end of the driver of {run.run_id}", DEADLINE_S)
    finally:
        os.close(driver)
