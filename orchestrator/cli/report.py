"""`penstock report`: a page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Debug
from orchestrator.errors import RunError
from orchestrator.record import Run, find_run, run_at
from orchestrator.report import PAGE, write_report
from orchestrator.run_files import RECORD


def report(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="Its id, the beginning of it, or its directory; the newest by default."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help=f"Of the page; {PAGE} in the run's directory by default."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a page about a run, finished or running: curves, versions, buffer, throughput, fields, programs.

    The page is one HTML file that needs no network.
    """
    print(write_report(_meant(name), out.absolute() if out is not None else None))


def _meant(name: str | None) -> Run:
    """Return the run of this name: a directory is meant before an id.

    Raises:
        RunError: there is none; or it is a directory in which there are runs.
    """
    directory = Path(name).absolute() if name else None
    if directory is None or not directory.is_dir():
        return find_run(name)
    if (directory / RECORD).is_file():
        return run_at(directory)
    within = sorted(directory.glob(f"*/{RECORD}"), key=lambda record: record.stat().st_mtime)
    if not within:
        return find_run(name)
    runs = "one run" if len(within) == 1 else f"{len(within)} runs"
    raise RunError(f"{directory} is no run, it holds {runs}; name one: the newest is {within[-1].parent}")
