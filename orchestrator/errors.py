"""What can go wrong while programs are started, watched and stopped.

PenstockError
├── UsageError             an option, a name or a path that cannot be right
│   ├── ApplicationError   an executable that is missing or not executable, a name twice
│   │   └── InputFileError an input file that is missing, or whose tags and the parameters do not fit
│   ├── GridError          a parameter no command line uses, a placeholder without values, no such member
│   ├── SweepError         a range, count or list of which no points can be made; or scipy is missing
│   └── ConfigError        config.toml or --set: an unknown key, a wrong type
├── BuildError             the database module could not be built or found
├── SmartSimError          what SmartSim needs is missing, or its folder cannot be made
├── ServerError            redis-server is missing, too old, or cannot be asked for its version
├── MpiError               mpiexec is missing, or it cannot be told whose it is
├── SchedulerError         a command of a scheduler is missing, or refuses; or what it says cannot be read
│   ├── SlurmError         of Slurm
│   └── PbsError           of PBS
├── SharingError           the database that ranks on one host share did not come up, or has gone
├── PlacementError         the hosts have not the cores, GPUs or memory that were asked for
├── PortError              a port is taken
├── SavedError             a saved database that cannot be read, written or used
├── RunError               no such run, or more than one
│   └── ResumeError        a run that cannot be resumed, or is not what it was
├── JobError               a program that was started
│   ├── StartFailed        the operating system refused to start it
│   ├── JobFailed          it ended with another exit code than 0
│   └── DatabaseFailed     a shard died, or never became ready
├── TimeOver               the run had to end before its allocation does, or at its limit
└── WaitTimeout            a deadline passed; also a TimeoutError
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from pathlib import Path


class PenstockError(Exception):
    """Base of every error that the orchestrator raises."""


class UsageError(PenstockError):
    """Something was asked for that cannot be right; nothing has been started."""


class ApplicationError(UsageError):
    """An Application that cannot be started as it is described."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"application {name!r}: {message}")
        self.name = name


class InputFileError(ApplicationError):
    """A file that a program is to find in its directory cannot be made, from the line and parameter on."""

    def __init__(
        self, name: str, message: str, file: Path, line: int | None = None, parameter: str | None = None
    ) -> None:
        super().__init__(name, message)
        self.file = file
        self.line = line
        self.parameter = parameter


class GridError(UsageError):
    """The parameters of an Ensemble, its command line and what is asked of it do not fit."""

    def __init__(self, ensemble: str, parameter: str, message: str) -> None:
        super().__init__(f"ensemble {ensemble!r}: {message}")
        self.ensemble = ensemble
        self.parameter = parameter


class SweepError(UsageError):
    """Points that cannot be made; `package` is the one that is missing."""

    def __init__(self, parameter: str, message: str, *, package: str = "") -> None:
        super().__init__(f"{parameter!r}: {message}")
        self.parameter = parameter
        self.package = package


class ConfigError(UsageError):
    """A configuration file or an override that cannot be used."""

    def __init__(self, message: str, *, key: str = "", path: Path | None = None) -> None:
        super().__init__(f"{path}: {message}" if path is not None else message)
        self.key = key
        self.path = path


class BuildError(PenstockError):
    """The database module could not be built or found."""

    def __init__(self, message: str, *, step: str, log_tail: str = "") -> None:
        super().__init__(_with_tail(message, log_tail))
        self.step = step
        self.log_tail = log_tail


class SmartSimError(PenstockError):
    """What SmartSim needs is missing, or the folder for it cannot be made."""

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class ServerError(PenstockError):
    """No redis-server that Penstock can use."""

    def __init__(self, message: str, *, executable: str = "", version: str = "") -> None:
        super().__init__(message)
        self.executable = executable
        self.version = version


class MpiError(PenstockError):
    """No mpiexec that Penstock can use."""

    def __init__(self, message: str, *, executable: str, said: str = "") -> None:
        super().__init__(message)
        self.executable = executable
        self.said = said


class SchedulerError(PenstockError):
    """A scheduler has not done what it was asked for: `command` is what was run, `said` what it answered."""

    def __init__(self, message: str, *, command: Sequence[str] = (), said: str = "") -> None:
        super().__init__(message)
        self.command = tuple(command)
        self.said = said


class SlurmError(SchedulerError):
    """Slurm has not done what it was asked for."""


class PbsError(SchedulerError):
    """PBS has not done what it was asked for."""


class SharingError(PenstockError):
    """The database that the ranks of a program share on one host did not come up, or has gone."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"the database beside the ranks on this host ({path}): {message}")
        self.path = path


class PlacementError(PenstockError):
    """The hosts have not what was asked for: `what` of it, `asked` and `available` numbers."""

    def __init__(self, message: str, *, asked: float, available: float, what: str) -> None:
        super().__init__(message)
        self.asked = asked
        self.available = available
        self.what = what


class PortError(PenstockError):
    """A port is taken by another program."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"port {port} on {host} cannot be used: {reason}. Another program may listen there; "
            "give another port, or none to let the operating system choose"
        )
        self.host = host
        self.port = port


class SavedError(PenstockError):
    """A saved database that cannot be read, written or used; `path` is the directory or the file."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"the saved database {path}: {message}")
        self.path = path


class RunError(PenstockError):
    """A run that cannot be found, or whose files cannot be made."""

    def __init__(self, message: str, *, run: str = "") -> None:
        super().__init__(message)
        self.run = run


class ResumeError(RunError):
    """A run cannot be resumed: it goes on, has completed, or is not what it was."""


class JobError(PenstockError):
    """A program that was started and did not do what it should."""

    def __init__(
        self,
        message: str,
        *,
        name: str,
        command: Sequence[str],
        returncode: int | None = None,
        log: Path | None = None,
        log_tail: str = "",
    ) -> None:
        where = f"\n  command: {shlex.join(command)}" + (f"\n  log: {log}" if log else "")
        super().__init__(_with_tail(message + where, log_tail))
        self.name = name
        self.command = tuple(command)
        self.returncode = returncode
        self.log = log
        self.log_tail = log_tail


class StartFailed(JobError):
    """The operating system refused to start a program."""


class JobFailed(JobError):
    """A program ended with another exit code than 0."""


class DatabaseFailed(JobError):
    """A shard of the database died, or never became ready."""


class TimeOver(PenstockError):
    """The time of a run is over: it was ended in order, before its allocation ends or at its own limit.

    Attributes:
        end: when it had to end, seconds since 1970.
    """

    def __init__(self, message: str, *, end: float) -> None:
        super().__init__(message)
        self.end = end


class WaitTimeout(PenstockError, TimeoutError):
    """A deadline passed."""

    def __init__(self, awaited: str, timeout_s: float) -> None:
        super().__init__(f"waited {timeout_s:g} s in vain for {awaited}")
        self.awaited = awaited
        self.timeout_s = timeout_s


def describe_exit(returncode: int | None) -> str:
    """Say in words how a process ended."""
    if returncode is None:
        return "has not ended"
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was killed by signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"was killed by signal {-returncode}"


def _with_tail(message: str, log_tail: str) -> str:
    if not log_tail:
        return message
    indented = "\n".join(f"    {line}" for line in log_tail.splitlines())
    return f"{message}\n  last lines of its log:\n{indented}"
