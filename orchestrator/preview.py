"""What an Experiment starts and where, before it does: a picture and the exact command lines. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.hosts import Host, Inventory
from orchestrator.launchers.base import Launch
from orchestrator.laying import by_hand
from orchestrator.picture import Shown, picture
from orchestrator.placement import RankPlacement
from orchestrator.run_files import RunFiles


@dataclass(frozen=True)
class Program:
    """A program of a preview: its launch, and the command by which the launcher starts it."""

    launch: Launch
    command: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """What an Experiment starts and where; as text by `str` and for programs by `as_json`.

    Attributes:
        experiment: its name.
        launcher: what starts the programs.
        files: of the run.
        inventory: the hosts there are.
        programs: in the order of their start, databases first.
        notes: what the Experiment would refuse.
    """

    experiment: str
    launcher: str
    files: RunFiles
    inventory: Inventory
    programs: tuple[Program, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        launches = [program.launch for program in self.programs]
        shown = [Shown(launch.name, launch.placement, launch.waits) for launch in launches]
        programs = f"{len(shown)} program{'s' * (len(shown) != 1)}"
        hosts = f"{len(self.inventory.hosts)} host{'s' * (len(self.inventory.hosts) > 1)}"
        cores = f"{self.inventory.core_count} cores"
        head = f"{self.experiment}: {programs} by the launcher {self.launcher}, on {hosts} with {cores}"
        commands = [shell_text(program.launch, program.command) for program in self.programs]
        notes = [f"cannot run: {note}" for note in self.notes]
        return "\n\n".join([head, *notes, picture(self.inventory, shown), self._directories(), *commands])

    def as_json(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return {
            "experiment": self.experiment,
            "launcher": self.launcher,
            "directory": str(self.files.directory),
            "runtime": str(self.files.runtime),
            "hosts": [self._host(host) for host in self.inventory.hosts],
            "programs": [_program(program) for program in self.programs],
            "notes": list(self.notes),
        }

    def _directories(self) -> str:
        directory, runtime = shlex.quote(str(self.files.directory)), shlex.quote(str(self.files.runtime))
        return f"mkdir -p {directory} && mkdir -p -m 700 {runtime}"

    def _host(self, host: Host) -> dict[str, Any]:
        return {
            "name": host.name,
            "gpus": list(host.gpus),
            "memory_gb": host.memory_gb,
            "cores": [{"core": core, "programs": self._on(host.name, core)} for core in host.cores],
        }

    def _on(self, host: str, core: int) -> list[str]:
        placed = [program.launch for program in self.programs if program.launch.placement is not None]
        return [
            launch.name for launch in placed if launch.placement and core in launch.placement.cores_on(host)
        ]


def shell_text(launch: Launch, command: Sequence[str]) -> str:
    """Return lines of shell that start a program by hand as its launcher does.

    Args:
        launch: of the program.
        command: by which the launcher starts it.
    """
    directory = shlex.quote(str(launch.directory))
    variables = "".join(
        f"    {key}={shlex.quote(text)} \\\n" for key, text in sorted(launch.environment.items())
    )
    log = shlex.quote(str(launch.log))
    inputs = "".join(f"    {line} && \\\n" for each in launch.inputs for line in by_hand(each))
    return (
        f"# {launch.name}\n"
        f"mkdir -p {directory} && cd {directory} && \\\n{inputs}{variables}"
        f"    {shlex.join(command)} > {log} 2>&1"
    )


def _place(rank: RankPlacement) -> dict[str, Any]:
    return {"host": rank.host, "cores": list(rank.cores), "gpus": list(rank.gpus)}


def _program(program: Program) -> dict[str, Any]:
    launch, placement = program.launch, program.launch.placement
    ranks = placement.ranks if placement is not None else ()
    return {
        "name": launch.name,
        "command": list(program.command),
        "environment": dict(launch.environment),
        "directory": str(launch.directory),
        "log": str(launch.log),
        "files": [each.as_json() for each in launch.inputs],
        "ranks": [{"rank": number, **_place(rank)} for number, rank in enumerate(ranks)],
        "beside": [_place(database) for database in placement.beside] if placement is not None else [],
        "bound": placement is not None and placement.bound,
        "exclusive": placement is not None and placement.exclusive,
        "exclusive_hosts": placement is not None and placement.exclusive_hosts,
        "waits": launch.waits,
    }
