"""Asks the commands of a scheduler. They are the interface, for they are on every cluster."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from orchestrator.errors import SchedulerError

TIMEOUT_S = 60.0
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


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
        """Run a command, with this text as its input, and return what it prints, without colours.

        What is no UTF-8 in it is replaced: a comment of a user may be anything.

        Raises:
            SchedulerError: it is missing, does not end, or fails.
        """
        try:
            returncode, out, errors = _run(command, os.fsencode(stdin or ""))
        except FileNotFoundError as error:
            raise self._missing(command[0]) from error
        except subprocess.TimeoutExpired as error:
            raise self._error(
                f"`{' '.join(command)}` has not ended after {TIMEOUT_S:g} s and was killed: "
                f"{self._scheduler} may be down or overloaded; try again later",
                command=command,
            ) from error
        except OSError as error:
            raise self._error(f"{command[0]} could not be asked: {error}", command=command) from error
        if returncode != 0:
            said = errors.strip() or out.strip() or f"exit code {returncode}"
            raise self._error(f"`{' '.join(command)}` was refused: {said}", command=command, said=said)
        return out

    def submit(self, number: re.Pattern[str], *command: str, script: str) -> str:
        """Submit a script by a command, and return the number of its job.

        Args:
            number: matches one, a line of the answer. Other lines, as a greeting of the site, do not count.
            command: reads the script.
            script: of the job.

        Raises:
            SchedulerError: as `ask` does; or the answer has no number, or several.
        """
        said = self.ask(*command, stdin=script)
        found = [line.strip() for line in said.splitlines() if number.fullmatch(line.strip())]
        if len(found) != 1:
            raise self._error(
                f"`{' '.join(command)}` has not told the number of the job: it said {said!r}. A job of yours "
                f"may be left, held: look for it in {self._scheduler}, and end it there",
                command=command,
                said=said,
            )
        return found[0]

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


def _run(command: Sequence[str], stdin: bytes) -> tuple[int, str, str]:
    """Run a command as a session of its own; return its exit code, what it printed, and its errors.

    If it does not end in time, or we are interrupted, all of its session is killed.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            out, errors = process.communicate(stdin, timeout=TIMEOUT_S)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, _text(out), _text(errors)


def _text(said: bytes) -> str:
    return COLOURS.sub("", said.decode(errors="replace").replace("\r\n", "\n"))
