"""One element of a job array: runs its members one after another, and tells what becomes of each.

As a program, `python -m orchestrator.element RUN_DIRECTORY ELEMENTS`, in an element of Slurm. It is no
driver: it decides nothing but when the next of its members begins. What it starts ends with it.

When the element is ended, by scancel or at the end of its time, Slurm sends a SIGTERM to its members too. It
may reach them first, so after the end of a member we wait a moment for ours before it counts.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.array_files import append_event, members_of
from orchestrator.environment import run_environment
from orchestrator.errors import PenstockError, StartFailed, UsageError
from orchestrator.guard import Guard, ended_by_signals, hurried_by_signals
from orchestrator.launchers.base import Job, JobState, Launch, Launcher
from orchestrator.launchers.local import LocalLauncher
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.slurm import SlurmLauncher
from orchestrator.policy import Policy
from orchestrator.progress import say
from orchestrator.recording import job_facts
from orchestrator.run_files import RunFiles, log_of, read_record
from orchestrator.schedulers.arrays import ELEMENT_VARIABLE

GRACE_S = 2.0
"""Shorter than the shortest time that Slurm gives between its SIGTERM and its SIGKILL, by default 30 s."""
TOLD_S, SOON_S = 1.0, 0.05
ENDED = "was ended with its element"
INTERRUPTED = 130


def describe(launch: Launch, policy: Policy) -> dict[str, Any]:
    """Return a member as its element reads it."""
    facts = {
        name: getattr(launch, name) for name in ("name", "command", "environment", "ranks", "parameters")
    }
    kept = {name: asdict(policy)[name] for name in ("timeout_s", "retries", "pause_s")}
    return {**facts, "directory": str(launch.directory), "policy": kept}


def run_element(directory: Path, element: int, elements: int) -> bool:
    """Run the members of one element; return whether all have completed.

    Raises:
        KeyboardInterrupt: it was told to end, and its members are canceled.
        PenstockError: they cannot be read, or nothing can be started here.
    """
    described = members_of(directory, element, elements)
    files = _files(directory, element)
    over = threading.Event()
    members = [_Member(each, files, element, over) for each in described]

    def wake() -> None:
        over.set()
        for member in members:
            member.wake()

    with _kept(files) as guard, ended_by_signals(wake):
        launcher = _launcher(described, guard)
        try:
            return _run_all(members, launcher)
        finally:
            launcher.close()
            guard.sweep()


class _Member:
    """One member: its Job, and how it is treated."""

    def __init__(self, facts: dict[str, Any], files: RunFiles, element: int, over: threading.Event) -> None:
        self._files, self._element, self._over = files, element, over
        self._policy = Policy(**facts["policy"])
        self._attempt: Job | None = None
        directory = Path(facts["directory"])
        own = run_environment(facts["name"], directory, files)
        launch = Launch(
            facts["name"],
            facts["command"],
            directory,
            log_of(directory),
            {**facts["environment"], **own},
            ranks=facts["ranks"],
            parameters=facts["parameters"],
        )
        self.job = Job(launch, lambda number: None)

    def run(self, launcher: Launcher) -> bool:
        """Run it to its end, again where its policy says so; return whether it has completed."""
        while True:
            state, returncode, reason = self._try(launcher)
            if state is not JobState.FAILED or self.job.attempts > self._policy.retries:
                self._end(state, returncode, reason)
                return state is JobState.COMPLETED
            self.job.report_waiting()
            self._tell()
            self._over.wait(self._policy.pause_after(self.job.attempts))

    def wake(self) -> None:
        """Let who waits for its end look again: a signal has come."""
        if (attempt := self._attempt) is not None:
            attempt.wake()

    def cancel(self) -> None:
        """End it, if it runs; it was not its own failure. Doing it again is harmless."""
        if self._attempt is not None:
            self._attempt.stop(GRACE_S)
        if not self.job.state.final:
            returncode = self._attempt.returncode if self._attempt is not None else None
            self._end(JobState.CANCELED, returncode, ENDED)

    def _try(self, launcher: Launcher) -> tuple[JobState, int | None, str | None]:
        try:
            self._attempt = launcher.start(self.job.launch)
        except StartFailed as error:
            self.job.attempts += 1
            return JobState.FAILED, None, str(error)
        self.job.report_attempt(self._attempt)
        self._tell()
        if not self._attempt.wait_ended(self._policy.timeout_s):
            self._attempt.stop(GRACE_S)
            told = f"ran longer than its {self._policy.timeout_s:g} s and was stopped"
            return JobState.FAILED, self._attempt.returncode, told
        # if it was told to end with us, a KeyboardInterrupt comes in this wait
        self._over.wait(TOLD_S if self._attempt.returncode == -signal.SIGTERM else SOON_S)
        return self._attempt.state, self._attempt.returncode, self._attempt.reason

    def _end(self, state: JobState, returncode: int | None, reason: str | None) -> None:
        self.job.report_ended(returncode, state, reason)
        self._tell()

    def _tell(self) -> None:
        facts = {**job_facts(self.job), "host": socket.gethostname(), "element": self._element}
        append_event(self._files.directory, self._element, facts)


def _run_all(members: list[_Member], launcher: Launcher) -> bool:
    try:
        completed = [member.run(launcher) for member in members]
        return all(completed)
    except KeyboardInterrupt:
        while not all(member.job.state.final for member in members):
            with (
                suppress(KeyboardInterrupt),
                hurried_by_signals(lambda number: None),
            ):  # Slurm may say it twice
                for member in members:
                    member.cancel()
        raise


def _launcher(members: list[dict[str, Any]], guard: Guard) -> Launcher:
    """Return what starts members: srun those with ranks, and nothing but this process the others."""
    if any(each["ranks"] is not None for each in members):
        return SlurmLauncher(guard.add, LaunchOptions(SlurmLauncher.name))
    return LocalLauncher(guard.add)


def _files(directory: Path, element: int) -> RunFiles:
    """Return the paths of this element: the directory of the run, and a runtime directory of its own.

    So has it an id of its own: others of the run may be on this host, and are not to be ended with it.
    """
    run_id = f"{read_record(directory).get('run')}.{element}"
    return replace(RunFiles.plan("element", directory), run_id=run_id)


@contextmanager
def _kept(files: RunFiles) -> Iterator[Guard]:
    """Let nothing outlive this process."""
    files.runtime.mkdir(mode=0o700)
    guard = Guard(files)
    try:
        yield guard
    finally:
        guard.leave()
        shutil.rmtree(files.runtime, ignore_errors=True)


def main(directory: str, elements: str) -> int:
    """Run the element that a variable names, and return the exit code."""
    number = os.environ.get(ELEMENT_VARIABLE, "")
    try:
        if not number.isdecimal():
            raise UsageError(f"this is no element of a job array: there is no {ELEMENT_VARIABLE}")
        return 0 if run_element(Path(directory), int(number), int(elements)) else 1
    except KeyboardInterrupt as error:
        say(str(error) or "ended")
        return INTERRUPTED
    except PenstockError as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
