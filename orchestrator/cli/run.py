"""`penstock run`: run an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.script import Options, find_experiment, load_main, run_main


def run(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A directory with a run.py, or its name.")
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter: the values of the table quick in config.toml.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Print the exact commands, start nothing.")
    ] = False,
    launcher: Annotated[
        str | None,
        typer.Option("--launcher", metavar="NAME", help="What starts the programs: local."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of config.toml.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="The directory of this run.")] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where in the code an error was raised.")
    ] = False,
) -> None:
    """Run an experiment and wait for it."""
    directory = find_experiment(experiment)
    options = Options(quick, preview, tuple(overrides or ()), run_dir, debug, launcher)
    run_main(load_main(directory), directory, options)
