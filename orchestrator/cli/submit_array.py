"""`penstock run --on slurm --array N`: submit the programs of an experiment as one job array."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.array_files import (
    COMPLETED,
    again,
    element_log,
    forget_events,
    members_of,
    write_members,
)
from orchestrator.cli.submit import check_options, submitted
from orchestrator.collecting import Collected
from orchestrator.element import describe
from orchestrator.errors import ResumeError, UsageError
from orchestrator.launchers.base import Job
from orchestrator.launchers.dry_run import DryRunLauncher
from orchestrator.launchers.options import LaunchOptions
from orchestrator.laying import lay
from orchestrator.progress import say
from orchestrator.record import Run
from orchestrator.recording import job_facts, write_queued
from orchestrator.resuming import claim
from orchestrator.run_files import RunFiles
from orchestrator.schedulers.arrays import ArraySize, array_script, script_again
from orchestrator.schedulers.base import Batch, Scheduler
from orchestrator.schedulers.slurm import SlurmScheduler
from orchestrator.schedulers.table import BatchJob, find_scheduler
from orchestrator.script import Main, Options, run_with

ELEMENT = "orchestrator.element"


def submit_array(
    main: Main, directory: Path, options: Options, scheduler: Scheduler, batch: Batch, size: ArraySize
) -> None:
    """Collect the programs of an experiment, show the script of their array, and submit it; or only show it.

    Raises:
        UsageError: options that do not go together, or an experiment that cannot be an array.
        SlurmError: there is no Slurm, or it refuses.
    """
    if not isinstance(scheduler, SlurmScheduler):
        raise UsageError(f"--array: job arrays are of Slurm; {scheduler.title} is not asked for any yet")
    check_options(options, scheduler)
    if options.launcher is not None or options.mpiexec is not None:
        raise UsageError("--launcher and --mpiexec do not go with --array: an element starts its own members")
    files, collected = _collect(main, directory, options)
    size = _fitting(size, len(collected))
    program = (sys.executable, "-u", "-m", ELEMENT, str(files.directory), str(size.count))
    script = array_script(
        directory.name,
        size,
        collected[0].resources,
        batch,
        program,
        log=element_log(files.directory, "%a"),
        working_directory=Path.cwd(),
    )
    print(script, end="", flush=True)
    if options.preview:
        return
    scheduler.check(script)
    _submit(directory.name, files, collected, scheduler, script, size)


def _submit(
    experiment: str,
    files: RunFiles,
    collected: Sequence[Collected],
    scheduler: Scheduler,
    script: str,
    size: ArraySize,
) -> None:
    def write(job: BatchJob) -> None:
        _lay_inputs(collected)
        write_members(files.directory, [describe(each.launch, each.policy) for each in collected])
        jobs = [
            {**job_facts(Job(each.launch, lambda number: None)), "element": number % size.count}
            for number, each in enumerate(collected)
        ]
        write_queued(experiment, files, job, array=size.count, jobs=jobs)

    number = files.create_queued(script, lambda: submitted(scheduler, script, write))
    members, elements = len(collected), size.count
    say(f"submitted {files.run_id} as job {number}: {members} members in {elements} elements")
    say(f"run directory {files.directory}")
    say("`penstock ps` shows its members, `penstock logs MEMBER` what one says, `penstock stop` ends them")


def _lay_inputs(collected: Sequence[Collected]) -> None:
    """Lay the input files of all members: an element knows nothing of them."""
    for launch in (each.launch for each in collected if each.launch.inputs):
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            lay(launch.inputs, launch.directory)
        except OSError as error:
            raise UsageError(f"--array: an input file of {launch.name!r} cannot be laid: {error}") from error


def submit_again(run: Run) -> None:
    """Submit the members of an array that have not completed as another one, in the directory of the run.

    Raises:
        ResumeError: all have completed, or some may still run; or somebody else does so now.
        SlurmError: there is no Slurm, or it refuses.
    """
    files = RunFiles(run.run_id, run.directory, run.runtime)
    lock = claim(files)
    try:
        _submit_again(run.again(), files)
    finally:
        os.close(lock)


def _submit_again(run: Run, files: RunFiles) -> None:
    if not run.resumable:
        raise ResumeError(f"the run {run.run_id} cannot be resumed: it is {run.state}", run=run.run_id)
    left = {job.name for job in run.record.jobs if job.state != COMPLETED}
    members = [member for member in members_of(run.directory) if member.name in left]
    count = min(run.record.array or 1, len(members))
    scheduler = find_scheduler(run.record.scheduler)
    script = script_again(_script(files), count)
    scheduler.check(script)

    def write(job: BatchJob) -> None:
        files.batch_script.write_text(script)
        write_members(run.directory, [member.model_dump() for member in members])
        record = again(run.record.model_dump(mode="json"), count, job.number, time.time())
        files.write_record(json.dumps(record, indent=2) + "\n")
        forget_events(run.directory)  # the record has them now

    number = submitted(scheduler, script, write)
    say(f"submitted {run.run_id} again as job {number}: {len(members)} members in {count} elements")


def _script(files: RunFiles) -> str:
    """Return what was submitted, which somebody may have removed."""
    try:
        return files.batch_script.read_text()
    except (OSError, ValueError) as error:
        raise ResumeError(
            f"the run {files.run_id} cannot be resumed: what was submitted cannot be read: {error}",
            run=files.run_id,
        ) from error


def _collect(main: Main, directory: Path, options: Options) -> tuple[RunFiles, Sequence[Collected]]:
    """Run the experiment, which starts nothing, and return the paths it chose and its programs."""
    found: list[tuple[RunFiles, Sequence[Collected]]] = []

    def note(files: RunFiles, collected: Sequence[Collected]) -> None:
        found.append((files, collected))

    launcher = LaunchOptions(
        DryRunLauncher.name,
        collect=note,
        time_limit_s=options.time_limit_s,  # the Experiment refuses these three, as it does its own
        stop_before_s=options.stop_before_s,
        checkpoint_s=options.checkpoint_s,
    )
    run_with(launcher, main, directory, replace(options, preview=False))
    if len(found) != 1 or not found[0][1]:
        what = "starts no program" if len(found) == 1 else f"has {len(found)} runs, and an array is one"
        raise UsageError(f"--array: {directory} {what}")
    return found[0]


def _fitting(size: ArraySize, members: int) -> ArraySize:
    """Return the size of an array that has no element without a member; say so where that is another."""
    if size.count <= members:
        return size
    say(f"--array {size.count}: there are {members} members, so there are as many elements")
    return replace(size, count=members)
