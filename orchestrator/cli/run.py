"""`penstock run`: run an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Debug
from orchestrator.cli.resume import resume_run
from orchestrator.cli.submit import submit_run
from orchestrator.cli.submit_array import submit_array
from orchestrator.errors import UsageError
from orchestrator.schedulers.arrays import ArraySize
from orchestrator.schedulers.base import Batch, Scheduler
from orchestrator.schedulers.table import SCHEDULERS, find_scheduler
from orchestrator.script import TIMES, Options, find_experiment, load_main, run_main


def run(
    experiment: Annotated[
        str | None, typer.Argument(metavar="EXPERIMENT", help="A directory with a run.py, or its name.")
    ] = None,
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
        str | None, typer.Option("--mpiexec", metavar="PATH", help="Of mpi and pbs; found by default.")
    ] = None,
    launcher: Annotated[
        str | None,
        typer.Option(
            "--launcher", metavar="NAME", help="What starts programs: local, mpi, slurm, pbs or smartsim."
        ),
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
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="RUN", help="Go on with a run that ended early: its id or directory."
        ),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="S", help=TIMES["time-limit"])
    ] = None,
    stop_before: Annotated[
        float | None, typer.Option("--stop-before", metavar="S", help=TIMES["stop-before"])
    ] = None,
    checkpoint: Annotated[
        float | None, typer.Option("--checkpoint", metavar="S", help=TIMES["checkpoint"])
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="SCHEDULER", help=f"Submit the run as a batch job: {' or '.join(SCHEDULERS)}."
        ),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", metavar="N", help="With --on: how many whole nodes.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="H:MM:SS", help="With --on: for how long at most.")
    ] = None,
    array: Annotated[
        str | None,
        typer.Option(
            "--array", metavar="N[%M]", help="With --on slurm: as a job array of N elements, M at a time."
        ),
    ] = None,
    per_node: Annotated[
        str | None,
        typer.Option("--per-node", metavar="ncpus=N", help="With --on pbs: what each node has."),
    ] = None,
    further: Annotated[
        list[str] | None,
        typer.Option(
            *(f"--{scheduler.submits_by}" for scheduler in SCHEDULERS.values()),
            metavar="ARG",
            help="With --on: a further argument of that command. May be repeated.",
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run an experiment and wait for it, or submit it as a batch job."""
    size = ArraySize.parse(array) if array is not None else None
    batch = _batch(on, nodes, time, per_node, tuple(further or ()), size)
    options = Options(
        quick,
        preview,
        tuple(overrides or ()),
        run_dir,
        debug,
        launcher,
        as_json,
        hosts,
        mpiexec,
        time_limit_s=time_limit,
        stop_before_s=stop_before,
        checkpoint_s=checkpoint,
    )
    if resume is not None:
        if experiment is not None:
            raise UsageError("--resume knows the experiment of the run: give no EXPERIMENT")
        if size is not None:
            raise UsageError("--resume of a job array submits it as it was: --array does not go with it")
        resume_run(resume, options, batch)
        return
    if experiment is None:
        raise UsageError("give an EXPERIMENT: a directory with a run.py, or its name; or --resume RUN")
    directory = find_experiment(experiment)
    main = load_main(directory)
    if batch is None:
        run_main(main, directory, options)
    elif size is not None:
        submit_array(main, directory, options, *batch, size)
    else:
        submit_run(directory, options, *batch)


def _batch(
    on: str | None,
    nodes: int | None,
    time: str | None,
    per_node: str | None,
    further: tuple[str, ...],
    size: ArraySize | None,
) -> tuple[Scheduler, Batch] | None:
    """Return what is asked of which scheduler; None where the run is to be here."""
    if on is None:
        if any(given is not None for given in (nodes, time, per_node, size)) or further:
            raise UsageError("--nodes, --time and others are of a batch job: give --on too, as in --on slurm")
        return None
    scheduler = find_scheduler(on)
    if size is not None:
        if nodes is not None or per_node is not None or time is None:
            raise UsageError(
                "--array needs --time H:MM:SS; nodes and cores are those of a member's Resources"
            )
        return scheduler, Batch(1, time, extra_args=further)
    if nodes is None or time is None:
        raise UsageError(f"--on {on} needs --nodes N and --time H:MM:SS")
    return scheduler, Batch(nodes, time, per_node, further)
