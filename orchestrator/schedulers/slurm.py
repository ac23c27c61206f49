"""Slurm as a scheduler: the batch script, and its job followed from a login node."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from orchestrator.errors import SlurmError, UsageError
from orchestrator.schedulers.base import Batch, JobStatus, check_further, check_path
from orchestrator.slurm import COMMANDS, allocation_here, ask, ask_columns, end_of

OURS = re.compile(r"-[JNtoa]|--(job-name|nodes|exclusive|time|output|requeue|no-requeue|wrap|array)(=|$)")
NUMBER = re.compile(r"\d+(;\S+)?")
"""Of a job, as sbatch tells it: with the cluster's name where there are several."""
FORBIDDEN = '"\\'
"""In a path in a script: sbatch takes a backslash for another use of the character after it."""
RUNNING = ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING")


class SlurmScheduler:
    """Submits by sbatch, and asks squeue."""

    name: ClassVar[str] = "slurm"
    title: ClassVar[str] = "Slurm"
    submits_by: ClassVar[str] = "sbatch"

    def version(self) -> str:
        """Return what the Slurm on PATH calls itself, as in `slurm 22.05.8`."""
        return ask("sinfo", "--version").strip()

    def job_here(self) -> str | None:
        """Return the number of the job in whose allocation this process runs; None outside of any."""
        return allocation_here()

    def end_of(self, job: str) -> float | None:
        """Return when a job will be ended, seconds since 1970; None where it has no limit."""
        return end_of(job)

    def script(
        self, name: str, batch: Batch, driver: Sequence[str], *, log: Path, working_directory: Path
    ) -> str:
        """Return the script that runs a driver inside the allocation. Pure."""
        check_further(self, batch, OURS)
        if batch.per_node is not None:
            raise UsageError(f"--per-node {batch.per_node}: is for PBS; Slurm gives all that its nodes have")
        check_path(self, log, FORBIDDEN)
        asked = (
            f"--job-name={name}",
            f"--nodes={batch.nodes}",
            "--exclusive",
            "--mem=0",
            f"--time={batch.time}",
            f'--output="{str(log).replace("%", "%%")}"',
            "--no-requeue",
            *(f'"{word}"' if " " in word else word for word in batch.extra_args),
        )
        lines = [
            "#!/bin/sh",
            *(f"#SBATCH {word}" for word in asked),
            f"cd {shlex.quote(str(working_directory))} || exit 1",
            f"exec {shlex.join(driver)}",
        ]
        return "\n".join(lines) + "\n"

    def check(self, script: str) -> None:
        """Make sure that Slurm would start a batch script some day.

        Raises:
            SlurmError: it would not; says what it has.
        """
        try:
            ask("sbatch", "--test-only", stdin=script)
        except SlurmError as error:
            if not error.said:
                raise
            told = map(str.split, ask("sinfo", "--noheader", "--format=%R %D").splitlines())
            there = ", ".join(f"{nodes} in {partition}" for partition, nodes in told)
            raise SlurmError(
                f"Slurm would not start this job: {error.said}. Nodes there are, by partition: {there}",
                command=error.command,
                said=error.said,
            ) from error

    def submit(self, script: str) -> str:
        """Submit a script and return the number of the job, which is held: `release` lets it begin."""
        told = COMMANDS.submit(NUMBER, "sbatch", "--parsable", "--hold", script=script)
        return told.partition(";")[0]

    def release(self, job: str) -> None:
        """Let a job begin that is held."""
        ask("scontrol", "release", job)

    def cancel(self, job: str) -> None:
        """End a job, also one that has not begun."""
        ask("scancel", job)

    def end_driver(self, job: str) -> None:
        """Tell the driver that is a job's batch script to end; its steps are told by the driver."""
        ask("scancel", "--ctld", "--batch", "--signal=TERM", job)

    def jobs(self) -> Mapping[str, JobStatus]:
        """Return where the jobs of this user stand that have not ended, by their numbers."""
        return {
            job: JobStatus(state, reason if reason != "None" else "", state in RUNNING)
            for job, state, reason in ask_columns(3, "squeue", "--me", "--noheader", "--format=%i|%T|%r")
        }
