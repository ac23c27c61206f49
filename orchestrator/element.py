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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.array_files import append_event, members_of
from orchestrator.entries import MemberEntry
from orchestrator.environment import run_environment
from orchestrator.errors import PenstockError, RunError, StartFailed, UsageError
from orchestrator.guard import Guard, ended_by_signals, hurried_by_signals
from orchestrator.launchers.base import Job, JobState, Launch, Launcher
from orchestrator.launchers.local import LocalLauncher
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.slurm import SlurmLauncher
from orchestrator.policy import Policy
from orchestrator.progress import say
from orchestrator.recording import job_facts
from orchestrator.run_files import RunFiles, log_of, read_record
from orchestrator.schedulers.arrays import ARRAY_VARIABLE, ELEMENT_VARIABLE

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


@dataclass(frozen=True)
class Element:
    """Which element of which array this is.

    Attributes:
        job: the number of the array.
        number: of the element in it, from 0 on.
    """

    job: str
    number: int

    @classmethod
    def here(cls) -> Element:
        """Return the element in which this process runs.

        Raises:
            UsageError: it runs in none.
        """
        found = {name: os.environ.get(name, "") for name in (ELEMENT_VARIABLE, ARRAY_VARIABLE)}
        for name, text in found.items():
            if not text.isdecimal():
                raise UsageError(f"this is no element of a job array: there is no {name}")
        return cls(found[ARRAY_VARIABLE], int(found[ELEMENT_VARIABLE]))


def run_element(directory: Path, element: Element, elements: int) -> bool:
    """Run the members of one element; return whether all have completed.

    Raises:
        KeyboardInterrupt: it was told to end, and its members are canceled.
        PenstockError: they cannot be read, another array runs them, or nothing can be started here.
    """
    files = _files(directory, element)
    described = members_of(directory, element.number, elements)
    over = threading.Event()
    events = _Events(directory, element)
    members = [_Member(each, files, events, over) for each in described]

    def wake() -> None:
        over.set()
        for member in members:
            member.wake()

    with _kept(files) as guard, ended_by_signals(wake):
        launcher = _launcher(described, guard)
        try:
            completed = _run_all(members, launcher)
            events.finish()
            return completed
        finally:
            launcher.close()
            guard.sweep()


class _Events:
    """Tells what becomes of members. What cannot be written is written with what comes next.

    Args:
        directory: of the run.
        element: that tells.
    """

    def __init__(self, directory: Path, element: Element) -> None:
        self._directory, self._element = directory, element
        self._untold: list[dict[str, Any]] = []
        self._error: OSError | None = None

    def tell(self, facts: dict[str, Any]) -> None:
        """Note what has become of a member; never raises."""
        at = {"host": socket.gethostname(), "element": self._element.number, "batch": self._element.job}
        self._untold.append({**facts, **at})
        try:
            while self._untold:
                append_event(self._directory, self._element.number, self._untold[0])
                del self._untold[0]
        except OSError as error:
            if self._error is None:
                say(f"what becomes of members cannot be written: {error}; they go on, and it is tried again")
            self._error = error

    def finish(self) -> None:
        """Make sure that all has been told.

        Raises:
            RunError: not all could be; names the members.
        """
        if self._untold:
            names = ", ".join(dict.fromkeys(facts["name"] for facts in self._untold))
            raise RunError(
                f"what became of {names} could not be written: {self._error}. They count as lost, and run "
                "again with `penstock run --resume`"
            )


class _Member:
    """One member: its Job, and how it is treated."""

    def __init__(self, entry: MemberEntry, files: RunFiles, events: _Events, over: threading.Event) -> None:
        self._events, self._over = events, over
        policy = entry.policy
        self._policy = Policy(timeout_s=policy.timeout_s, retries=policy.retries, pause_s=policy.pause_s)
        self._attempt: Job | None = None
        own = run_environment(entry.name, entry.directory, files)
        launch = Launch(
            entry.name,
            entry.command,
            entry.directory,
            log_of(entry.directory),
            {**entry.environment, **own},
            ranks=entry.ranks,
            parameters=entry.parameters,
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
        self._events.tell(job_facts(self.job))


def _run_all(members: list[_Member], launcher: Launcher) -> bool:
    try:
        completed = [member.run(launcher) for member in members]
        return all(completed)
    except KeyboardInterrupt:
        while not all(member.job.state.final for member in members):
            # Slurm may say it twice
            with suppress(KeyboardInterrupt), hurried_by_signals(lambda number: None):
                for member in members:
                    member.cancel()
        raise


def _launcher(members: list[MemberEntry], guard: Guard) -> Launcher:
    """Return what starts members: srun those with ranks, and nothing but this process the others."""
    if any(each.ranks is not None for each in members):
        return SlurmLauncher(guard.add, LaunchOptions(SlurmLauncher.name))
    return LocalLauncher(guard.add)


def _files(directory: Path, element: Element) -> RunFiles:
    """Return the paths of this element: the directory of the run, and a runtime directory of its own.

    So has it an id of its own: others of the run may be on this host, also of an array that was before, and
    are not to be ended with it.

    Raises:
        RunError: the run is not in the array of this element.
    """
    record = read_record(directory)
    if record.get("batch") != element.job:
        raise RunError(
            f"the run in {directory} is in the job {record.get('batch')}: this element of the job "
            f"{element.job} runs nothing; `scancel {element.job}` ends its others",
            run=str(record.get("run")),
        )
    run_id = f"{record.get('run')}.{element.job}.{element.number}"
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
    """Run the element that the environment names, and return the exit code."""
    try:
        return 0 if run_element(Path(directory), Element.here(), int(elements)) else 1
    except KeyboardInterrupt as error:
        say(str(error) or "ended")
        return INTERRUPTED
    except (PenstockError, OSError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
