"""`penstock ps`: the runs and their programs."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.options import Debug, Json
from orchestrator.cli.showing import plain
from orchestrator.entries import JobEntry
from orchestrator.hosts import numbers_text
from orchestrator.record import Run, known_runs
from orchestrator.schedulers.base import JobStatus

STYLES = {
    "active": "green",
    "queued": "yellow",
    "failed": "red",
    "lost": "red",
    "interrupted": "yellow",
    "out_of_time": "yellow",
    "completed": "dim",
}


def ps(
    everything: Annotated[
        bool, typer.Option("--all", "-a", metavar="", help="Also runs that have ended.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the runs that are queued or active (or were lost), and their programs.

    Ends with 1 where nothing can be told of one.
    """
    known, left_out = known_runs()
    runs = [run for run in known if everything or run.state in ("queued", "active", "lost")]
    if as_json:
        print(json.dumps([run.as_json() for run in runs], indent=2))
    else:
        _show(runs, known, everything=everything, whole=not left_out)
    if left_out:
        raise typer.Exit(1)


def _show(runs: list[Run], known: list[Run], *, everything: bool, whole: bool) -> None:
    console = Console()
    if not runs:
        others = "" if whole else "other "
        console.print(f"no {others}run is active" if not everything else f"there are no {others}runs")
        ended = [run for run in known if run.resumable]
        if ended and not everything:
            console.print(plain(f"{len(ended)} that ended early can be resumed: penstock ps --all"))
    for run in runs:
        state = plain(run.state)
        state.stylize(STYLES.get(run.state, ""))
        line = Text.assemble(plain(run.run_id), "  ", state, "  ", plain(str(run.directory)))
        console.print(line, soft_wrap=True)
        if run.job is not None:
            console.print(plain(f"  {_job_text(run.record.batch, run.job)}"), soft_wrap=True)
        if run.record.jobs:
            console.print(_table(run))
        if run.resumable:
            console.print(plain(f"  to go on: penstock run --resume {run.run_id}"), soft_wrap=True)


def _job_text(number: str | None, job: JobStatus) -> str:
    """Say where the batch job of a run stands, and why it waits, in the batch system's words."""
    return f"job {number} is {job.state.lower()}{f': {job.reason}' if job.reason else ''}"


def _table(run: Run) -> Table:
    table = Table()
    for heading in ("name", "state", "pid", "cores", "for", "exit"):
        table.add_column(heading)
    for job in run.record.jobs:
        table.add_row(*map(plain, _row(run, job)))
    return table


def _row(run: Run, job: JobEntry) -> tuple[str, ...]:
    cores, state = _cores_text(job), _state_text(run, job)
    code = "" if job.returncode is None else str(job.returncode)
    if job.ended is None and not run.alive and not job.is_running():
        return (job.name, "lost", str(job.pid), cores, "", code)
    pid = "" if job.pid is None else str(job.pid)
    lasted = "" if job.started is None else f"{(job.ended or time.time()) - job.started:.0f} s"
    return (job.name, state, pid, cores, lasted, code)


def _state_text(run: Run, job: JobEntry) -> str:
    """Return the state of a program; a server that ended when its run did was not canceled to a reader."""
    servers = {node.name for database in run.record.databases for node in database.nodes}
    return "ended" if job.name in servers and (job.state, job.returncode) == ("canceled", 0) else job.state


def _cores_text(job: JobEntry) -> str:
    if job.cores is not None:
        return ",".join(map(str, job.cores))
    by_host: dict[str, set[int]] = {}
    for rank in job.ranks or ():
        by_host.setdefault(rank.host, set()).update(rank.cores)
    return " ".join(f"{host}:{numbers_text(cores)}" for host, cores in by_host.items()) or "any"
