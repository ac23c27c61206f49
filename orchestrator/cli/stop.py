"""`penstock stop`: end runs, also those whose driver has gone."""

from __future__ import annotations

import os
import select
import shutil
import signal
from typing import Annotated

import typer

from orchestrator.errors import RunError, UsageError, WaitTimeout
from orchestrator.record import Run, all_runs, find_run
from orchestrator.watcher import sweep

DEADLINE_S = 30.0


def stop(
    run_id: Annotated[str | None, typer.Argument(help="The run; the only active one by default.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run of yours on this host.")] = False,
    debug: Annotated[bool, typer.Option("--debug", hidden=True)] = False,
) -> None:
    """End runs: their drivers are told to, and stop what they have started."""
    if everything and run_id is not None:
        raise UsageError("give a run or --all, not both")
    runs = _chosen(run_id, everything)
    for run in runs:
        _stop(run)
        print(f"stopped {run.run_id}")
    if not runs:
        print("no run is active")


def _chosen(run_id: str | None, everything: bool) -> list[Run]:
    if run_id is not None:
        return [find_run(run_id)]
    runs = [run for run in all_runs() if run.state in ("active", "lost")]
    active = [run for run in runs if run.alive]
    if not everything and len(active) > 1:
        raise RunError(
            f"several runs are active, name one or say --all: {', '.join(run.run_id for run in active)}"
        )
    return runs if everything else active


def _stop(run: Run) -> None:
    if run.alive:
        _end_driver(run)
        return
    if run.state == "lost":
        sweep(run.run_id, run.sessions)
        shutil.rmtree(run.runtime, ignore_errors=True)
        run.close()


def _end_driver(run: Run) -> None:
    """Tell the driver to end, and wait for the event of its end. The descriptor can name no other process."""
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
