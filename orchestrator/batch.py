"""The batch job in which a scheduler runs a driver: what is asked for, and its script. Pure.

The script becomes the driver (`exec`), so that a signal to the one is a signal to the other and the job ends
with it. Penstock places programs itself, so it takes whole nodes. A job that was started again would find its
run directory taken, so it never is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError

SLURM = "slurm"
SCHEDULERS = (SLURM,)
TIME = re.compile(r"\d+|\d+:[0-5]\d|\d+:[0-5]\d:[0-5]\d|\d+-\d+(:[0-5]\d){0,2}")
OURS = (
    "J",
    "job-name",
    "N",
    "nodes",
    "exclusive",
    "t",
    "time",
    "o",
    "output",
    "requeue",
    "no-requeue",
    "wrap",
)


@dataclass(frozen=True)
class Batch:
    """What is asked of the scheduler.

    Attributes:
        nodes: how many whole ones.
        time: for how long, as the scheduler writes it: minutes, M:SS, H:MM:SS, D-H, D-H:MM or D-H:MM:SS.
        extra_args: further arguments of sbatch.
    """

    nodes: int
    time: str
    extra_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise UsageError(f"--nodes {self.nodes}: must be at least 1")
        if not TIME.fullmatch(self.time) or not re.search(r"[1-9]", self.time):
            raise UsageError(
                f"--time {self.time!r} is no time: write minutes, H:MM:SS or D-H:MM:SS, as in 90 or 1:30:00"
            )
        for word in self.extra_args:
            if not word.startswith("-"):
                raise UsageError(f"--sbatch {word!r}: write it as one word, as in --sbatch=--partition=gpu")
            if {'"', "\n"} & set(word):
                raise UsageError(f"--sbatch {word!r}: a line of the script can hold no quotation mark in it")
            if word.lstrip("-").partition("=")[0] in OURS:
                raise UsageError(f"--sbatch {word}: is given by Penstock itself")


def batch_script(
    name: str, batch: Batch, driver: Sequence[str], *, log: Path, working_directory: Path
) -> str:
    """Return the script that runs a driver inside the allocation.

    Args:
        name: of the job.
        batch: what is asked for.
        driver: its command.
        log: what the driver prints goes there.
        working_directory: of the driver.
    """
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
