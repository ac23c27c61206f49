"""Asks the commands of a scheduler. They are the interface, for they are on every cluster."""

from __future__ import annotations

import shutil
import subprocess

from orchestrator.errors import SchedulerError

TIMEOUT_S = 60.0


class Commands:
    """The commands of one scheduler.

    Args:
        scheduler: what it is called.
        error: what is raised.
    """

    def __init__(self, scheduler: str, error: type[SchedulerError]) -> None:
        self._scheduler = scheduler
        self._error = error

    def ask(self, *command: str, stdin: str | None = None) -> str:
        """Run a command, with this text as its input, and return what it prints.

        Raises:
            SchedulerError: it is missing, does not end, or fails.
        """
        try:
            done = subprocess.run(
                command, input=stdin or "", capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except FileNotFoundError as error:
            raise self._missing(command[0]) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._error(f"{command[0]} could not be asked: {error}", command=command) from error
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise self._error(f"`{' '.join(command)}` was refused: {said}", command=command, said=said)
        return done.stdout

    def find(self, name: str) -> str:
        """Return where a command is.

        Raises:
            SchedulerError: it is not on PATH.
        """
        found = shutil.which(name)
        if found is None:
            raise self._missing(name)
        return found

    def _missing(self, name: str) -> SchedulerError:
        return self._error(
            f"there is no {name} on PATH: this host has no {self._scheduler}, or its module is not loaded; "
            f"on a machine without {self._scheduler} use --launcher local",
            command=(name,),
        )
