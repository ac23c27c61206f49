"""What a user chooses about the start of programs, as `penstock run` hands it to an Experiment."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.hosts import Inventory

AUTO = "auto"


@dataclass(frozen=True)
class LaunchOptions:
    """How an Experiment starts its programs.

    Attributes:
        launcher: its name; "auto" is slurm or pbs in a job of theirs, and local elsewhere.
        hosts: where; what the launcher finds by itself when there is none.
        preview: start nothing, and show at the end what would have been started.
        show: how; gets the Preview, whose text is printed by default.
        mpiexec: of the launchers mpi and pbs; the one on PATH by default.
        scheduler: whose launcher of SmartSim's the launcher smartsim uses: local, lsf, sge or pals; what
            SmartSim finds by default.
        extra_args: further arguments of mpiexec or srun, before those of the launcher.
        resume: go on with the run that is in the run directory.
        collect: start nothing, and hand over at the end the paths of the run and what it would have started.
        source: what the run is made from, for its record: the experiment, its options and configuration.
        time_limit_s: in place of what the script gives to its Experiment.
        stop_before_s: likewise.
        checkpoint_s: likewise.
    """

    launcher: str = AUTO
    hosts: Inventory | None = None
    preview: bool = False
    show: Callable[[Any], None] = print
    mpiexec: str | Path | None = None
    scheduler: str | None = None
    extra_args: tuple[str, ...] = ()
    resume: bool = False
    collect: Callable[[Any, Any], None] | None = None
    source: Mapping[str, Any] | None = None
    time_limit_s: float | None = None
    stop_before_s: float | None = None
    checkpoint_s: float | None = None


def check_words(extra_args: object, program: str, ours: Container[str]) -> None:
    """Refuse further arguments of the program that starts ranks where they cannot be right.

    Args:
        extra_args: what was given.
        program: its name.
        ours: the arguments that Penstock gives itself, without their dashes.

    Raises:
        UsageError: naming one.
    """
    if not isinstance(extra_args, list | tuple) or not all(isinstance(word, str) for word in extra_args):
        raise UsageError(f"extra_args={extra_args!r}: a list of text, the further arguments of {program}")
    for word in extra_args:
        if word.startswith("-") and word.lstrip("-").partition("=")[0] in ours:
            raise UsageError(f"extra_args: {word} is given by Penstock itself")
