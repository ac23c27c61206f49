"""`penstock run`: run an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Debug
from orchestrator.script import Options, find_experiment, load_main, run_main


def run(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="A directory with a run.py, or its name.")
    ],
    quick: Annotated[
        bool,
        typer.Option("--quick", metavar="", help="Shorter: the values of the table quick in config.toml."),
    ] = False,
    preview: Annotated[
        bool,
        typer.Option("--preview", metavar="", help="Show hosts, cores and exact commands; start nothing."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="The preview as JSON, for a program to read.")
    ] = False,
    hosts: Annotated[
        str | None,
        typer.Option("--hosts", metavar="NAME:CORES,...", help="Where; this host or allocation by default."),
    ] = None,
    mpiexec: Annotated[
        str | None, typer.Option("--mpiexec", metavar="PATH", help="Of the launcher mpi; found by default.")
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option("--launcher", metavar="NAME", help="What starts the programs: local, mpi or slurm."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a value of config.toml; table.key for one in a table. May be repeated.",
        ),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir", metavar="DIR", help="The directory of this run; runs/NAME/TIME by default."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run an experiment and wait for it."""
    directory = find_experiment(experiment)
    options = Options(
        quick, preview, tuple(overrides or ()), run_dir, debug, launcher, as_json, hosts, mpiexec
    )
    run_main(load_main(directory), directory, options)
