"""`penstock report`: a page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Debug
from orchestrator.record import find_run, run_at
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
    directory = Path(name).absolute() if name else None
    is_directory = directory is not None and (directory / RECORD).is_file()
    run = run_at(directory) if directory is not None and is_directory else find_run(name)
    print(write_report(run, out.absolute() if out is not None else None))
