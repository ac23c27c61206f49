"""A job array of Slurm: its script, and where its elements stand.

Each element is a job with what one member of an ensemble asks for, and Slurm starts as many as fit. So no
node is asked for as a whole unless a member does.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import SlurmError, UsageError
from orchestrator.resources import Resources
from orchestrator.schedulers.base import Batch, JobStatus, check_further, check_path
from orchestrator.schedulers.slurm import FORBIDDEN, OURS, RUNNING, SlurmScheduler
from orchestrator.slurm import UNKNOWN_JOB, ask_columns, not_told

ELEMENT_VARIABLE = "SLURM_ARRAY_TASK_ID"
ARRAY_VARIABLE = "SLURM_ARRAY_JOB_ID"
WRITTEN = re.compile(r"(?P<count>\d+)(%(?P<at_once>\d+))?")
BYTES_PER_MB = 1 << 20
ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "TIMEOUT"),
)
"""States in which squeue goes on to list a job for a while when it is asked for that job."""
ITS_OWN = re.compile(r"-[nc]|--(ntasks|cpus-per-task|ntasks-per-node|mem-per-cpu|gpus-per-task)(=|$)")


@dataclass(frozen=True)
class ArraySize:
    """How many elements an array has.

    Attributes:
        count: all of them.
        at_once: how many may run at a time; None for as many as there is room for.
    """

    count: int
    at_once: int | None = None

    @classmethod
    def parse(cls, text: str) -> ArraySize:
        """Read `100` or `100%10`, the latter with 10 at a time.

        Raises:
            UsageError: it is neither.
        """
        written = WRITTEN.fullmatch(text)
        if written is None or 0 in map(int, filter(None, written.group("count", "at_once"))):
            raise UsageError(f"--array {text!r}: write how many elements, as in 100, or 100%10: 10 at a time")
        return cls(int(written["count"]), int(written["at_once"]) if written["at_once"] else None)


def array_script(
    name: str,
    size: ArraySize,
    resources: Resources,
    batch: Batch,
    program: Sequence[str],
    *,
    log: Path,
    working_directory: Path,
) -> str:
    """Return the script of an array, which runs a program in each element. Pure.

    Args:
        name: of the job.
        size: how many elements.
        resources: what each member asks for.
        batch: its time, and further arguments.
        program: is told its element by a variable.
        log: what it prints goes there, `%a` being its element.
        working_directory: of the program.

    Raises:
        UsageError: a further argument is given by Penstock itself, or the path of the log cannot be written.
    """
    for pattern in (OURS, ITS_OWN):
        check_further(SlurmScheduler(), batch, pattern)
    check_path(SlurmScheduler(), log, FORBIDDEN)
    at_once = f"%{size.at_once}" if size.at_once is not None else ""
    asked = (
        f"--job-name={name}",
        f"--array=0-{size.count - 1}{at_once}",
        *_asked(resources),
        f"--time={batch.time}",
        f'--output="{str(log.parent).replace("%", "%%")}/{log.name}"',
        "--no-requeue",
        *(f'"{word}"' if " " in word else word for word in batch.extra_args),
    )
    lines = [
        "#!/bin/sh",
        *(f"#SBATCH {word}" for word in asked),
        f"cd {shlex.quote(str(working_directory))} || exit 1",
        f"exec {shlex.join(program)}",
    ]
    return "\n".join(lines) + "\n"


def script_again(script: str, count: int) -> str:
    """Return the script of an array with another number of elements. Pure."""
    resized = re.sub(r"^#SBATCH --array=0-\d+", f"#SBATCH --array=0-{count - 1}", script, flags=re.MULTILINE)
    return re.sub(r" \d+\n\Z", f" {count}\n", resized)


def elements_of(job: str) -> Mapping[int, JobStatus]:
    """Return where the elements of an array stand that have not ended, by their numbers.

    Raises:
        SlurmError: Slurm does not tell.
    """
    command = ("squeue", "--noheader", "--array", f"--job={job}", "--format=%K|%T|%r")
    try:
        elements = ask_columns(3, *command)
    except SlurmError as error:
        if UNKNOWN_JOB not in error.said:
            raise
        return {}
    for columns in elements:
        if not columns[0].isdecimal():
            raise not_told(command, "|".join(columns))
    return {
        int(number): JobStatus(state, "" if reason == "None" else reason, state in RUNNING)
        for number, state, reason in elements
        if state not in ENDED
    }


def summary(elements: Mapping[int, JobStatus]) -> JobStatus | None:
    """Return where an array stands as a whole; None where all of it has ended."""
    if not elements:
        return None
    running = sum(status.runs for status in elements.values())
    waiting = [status for status in elements.values() if not status.runs]
    reasons = ", ".join(sorted({status.reason for status in waiting if status.reason}))
    if not running:
        return JobStatus(waiting[0].state, reasons)
    rest = f", {len(waiting)} do not yet or no more{f' ({reasons})' if reasons else ''}" if waiting else ""
    return JobStatus("RUNNING", f"{running} element{'s' * (running > 1)}{rest}", runs=True)


def _asked(resources: Resources) -> list[str]:
    ranks, cores = resources.rank_count, resources.rank_cores
    asked = [f"--ntasks={ranks}", f"--cpus-per-task={cores}"]
    if not resources.mpi or resources.nodes is not None:
        asked.append(f"--nodes={resources.nodes or 1}")
    if resources.ranks_per_node is not None:
        asked.append(f"--ntasks-per-node={resources.ranks_per_node}")
    if resources.gpus:
        asked.append(f"--gpus-per-task={resources.gpus}" if resources.mpi else f"--gres=gpu:{resources.gpus}")
    if resources.memory_gb:
        asked.append(f"--mem-per-cpu={math.ceil(resources.memory_gb * 1e9 / BYTES_PER_MB / cores)}")
    return [*asked, *["--exclusive"] * resources.exclusive_hosts]
