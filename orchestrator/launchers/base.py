"""What every launcher does: start an Application somewhere and give back a Job."""

from __future__ import annotations

import enum
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol

from orchestrator.errors import JobError, JobFailed, WaitTimeout, describe_exit
from orchestrator.hosts import Inventory
from orchestrator.launchers.ends import Ends
from orchestrator.launchers.options import LaunchOptions
from orchestrator.placement import Placement
from orchestrator.run_files import tail
from orchestrator.sources import Input
from orchestrator.watcher import Session

GRACE_S = 5.0
"""How long a program that was told to end may take before it is killed."""


class JobState(str, enum.Enum):
    """Where a Job stands. The last three are final."""

    QUEUED = "queued"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether the program has ended."""
        return self in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELED)


@dataclass(frozen=True)
class Launch:
    """Everything a launcher needs to know to start one program.

    Attributes:
        name: of the Application, or of the shard.
        command: the exact argv.
        directory: its working directory; made by the launcher.
        log: where its output and errors go.
        environment: on top of the driver's.
        placement: the cores and GPUs it may use; None leaves it unbound.
        ranks: MPI ranks; None for a program without MPI.
        parameters: what sets it apart from other members of its Ensemble.
        waits: it has no place yet, because it waits for its turn.
        inherits: open files of this process, by number, that the program gets too.
        inputs: what it finds in its directory; laid by the launcher.
        driver_environment: that of the driver when the program was described; None for that of its start.
    """

    name: str
    command: Sequence[str]
    directory: Path
    log: Path
    environment: Mapping[str, str]
    placement: Placement | None = None
    ranks: int | None = None
    parameters: Mapping[str, str | int | float | Path] = field(default_factory=dict)
    waits: bool = False
    inherits: Sequence[int] = ()
    inputs: tuple[Input, ...] = ()
    driver_environment: Mapping[str, str] | None = field(default=None, repr=False)


class Job:
    """One program. Its launcher reports what becomes of it; any thread may ask and wait.

    That of a program that waits for its turn is made before it is started, and stays the same when the
    program is tried again; the queue is its launcher then.

    Args:
        launch: how it is started.
        send_signal: sends its process group a signal.
        tolerated: its failure stops nothing and nobody is told of it unasked.
    """

    def __init__(
        self, launch: Launch, send_signal: Callable[[int], None], *, tolerated: bool = False
    ) -> None:
        self._launch = launch
        self._send_signal = send_signal
        self._lock = threading.RLock()  # taken itself: a signal cannot come between taking and holding it
        self._changed = threading.Condition(self._lock)
        self._state = JobState.QUEUED
        self._listeners: list[Callable[[Job], None]] = []
        self._stopping = False
        self._sent: set[int] = set()
        self._condemned: str | None = None
        self._reported = False
        self.tolerated = tolerated
        self.attempts = 0  # how often it was started
        self.reason: str | None = None  # why it was canceled, or what made it fail beside its exit code
        self.error: JobError | None = None  # why it could not be started
        self.listener_error: Exception | None = None  # the first that a listener raised
        self.pid: int | None = None
        self.start_time: int | None = None  # with the pid, who the process is: a pid alone is given again
        self.returncode: int | None = None
        self.started: float | None = None
        self.ended: float | None = None

    def __repr__(self) -> str:
        return f"<Job {self.name} {self.state.value}>"

    @property
    def launch(self) -> Launch:
        """How it was started."""
        return self._launch

    @property
    def name(self) -> str:
        """The Application's name."""
        return self._launch.name

    @property
    def command(self) -> tuple[str, ...]:
        """The exact argv."""
        return tuple(self._launch.command)

    @property
    def log(self) -> Path:
        """The file with its output and errors."""
        return self._launch.log

    @property
    def directory(self) -> Path:
        """Its working directory."""
        return self._launch.directory

    @property
    def placement(self) -> Placement | None:
        """The cores and GPUs it may use; None when it is unbound."""
        return self._launch.placement

    @property
    def state(self) -> JobState:
        """Where it stands."""
        return self._state

    @property
    def parameters(self) -> Mapping[str, str | int | float | Path]:
        """What sets it apart from other members of its Ensemble."""
        return self._launch.parameters

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping

    @property
    def reported(self) -> bool:
        """Whether `wait` has raised its failure."""
        return self._reported

    def wait(self, timeout_s: float | None = None) -> JobState:
        """Wait until the program has ended and return COMPLETED or CANCELED.

        Raises:
            JobFailed: it ended with another exit code than 0 and nobody had stopped it.
            WaitTimeout: it still runs.
        """
        if not self.wait_ended(timeout_s):
            raise WaitTimeout(f"the end of {self.name!r}", timeout_s or 0.0)
        if self._state is JobState.FAILED:
            self._reported = True
            raise self.failure()
        return self._state

    def wait_ended(self, timeout_s: float | None = None) -> bool:
        """Wait until the program has ended, however it did; return False when the time is over."""
        with self._lock:
            return self._changed.wait_for(lambda: self._state.final, timeout_s)

    def wake(self) -> None:
        """Let those who wait for the end look again: a signal may have come."""
        with self._lock:
            self._changed.notify_all()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """End the program: SIGTERM to its process group, SIGKILL after a time of grace."""
        self.terminate()
        if not self.wait_ended(grace_s):
            self.kill()
            self.wait_ended()

    def terminate(self) -> None:
        """Tell the program to end, and return at once. From now on its end is no failure."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program's process group, and return at once."""
        self.signal(signal.SIGKILL)

    def condemn(self, reason: str) -> None:
        """Kill the program's process group because the program has failed, and return at once.

        Args:
            reason: why, as a clause of its own.
        """
        with self._lock:
            if self._state.final or self._stopping:
                return
            self._condemned = reason
        self._send_signal(signal.SIGKILL)

    def expect_end(self) -> None:
        """Note that the program is being stopped, so that its end is no failure."""
        with self._lock:
            self._stopping = True

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group, as part of stopping it."""
        with self._lock:
            if self._state.final:
                return
            self._stopping = True
            self._sent.add(number)
        self._send_signal(number)

    def failure(self) -> JobError:
        """Return the error that tells how this program failed."""
        if self.error is not None:
            return self.error
        last = f" at attempt {self.attempts}" if self.attempts > 1 else ""
        return JobFailed(
            f"{self.name!r} {self.reason or describe_exit(self.returncode)}{last}",
            name=self.name,
            command=self.command,
            returncode=self.returncode,
            log=self.log,
            log_tail=tail(self.log),
        )

    def when_ended(self, listener: Callable[[Job], None]) -> None:
        """Call a function once the program has ended, on the launcher's thread; at once if it has.

        What it raises there ends no thread: the Experiment raises it, when waiting or at its end.
        """
        with self._lock:
            if not self._state.final:
                self._listeners.append(listener)
                return
        listener(self)

    def report_started(self, pid: int | None, start_time: int | None = None) -> None:
        """For the launcher: the program runs, as a process that started so many clock ticks after boot."""
        with self._lock:
            self.pid, self.start_time = pid, start_time
            self.started = time.time()
            self.attempts += 1
            self._state = JobState.ACTIVE
            self._changed.notify_all()

    def report_attempt(self, attempt: Job) -> None:
        """For the queue: the program runs, as this Job of a launcher."""
        with self._lock:
            self._launch = attempt.launch
            self.pid, self.start_time, self.started = attempt.pid, attempt.start_time, attempt.started
            self.attempts += 1
            self._state = JobState.ACTIVE
            self._changed.notify_all()

    def report_waiting(self) -> None:
        """For the queue: the program has no process and no place, and waits to be tried again."""
        with self._lock:
            self._launch = replace(self._launch, placement=None, waits=True)
            self.pid = self.start_time = None
            self._state = JobState.QUEUED

    def report_ended(
        self,
        returncode: int | None,
        state: JobState | None = None,
        reason: str | None = None,
        error: JobError | None = None,
    ) -> None:
        """For the launcher: the program has ended.

        Args:
            returncode: negative is the signal that killed it; None where it never ran.
            state: the final one, where it does not follow from that.
            reason: why, in words that go on from its name.
            error: why it could not be started.
        """
        with self._lock:
            self.returncode = returncode
            self.ended = time.time()
            self.reason, self.error = reason or self._condemned, error
            self._state = state or self._final_state(returncode)
            listeners, self._listeners = self._listeners, []
            self._changed.notify_all()
        for listener in reversed(listeners):  # the Experiment's, added first, hears last what is wrong
            self._call(listener)

    def _call(self, listener: Callable[[Job], None]) -> None:
        """At the edge of the launcher's thread, which must go on to see the ends of other programs."""
        try:
            listener(self)
        except Exception as error:  # noqa: BLE001
            self.listener_error = self.listener_error or error

    def _final_state(self, returncode: int | None) -> JobState:
        """A program that was stopped is canceled, unless it was killed by a signal that was not ours."""
        if self._condemned is not None:
            return JobState.FAILED
        killed_by_others = returncode is not None and returncode < 0 and -returncode not in self._sent
        if self._stopping and not killed_by_others:
            return JobState.CANCELED
        return JobState.COMPLETED if returncode == 0 else JobState.FAILED


class Launcher(Protocol):
    """Starts programs somewhere.

    Attributes:
        name: by which an Experiment asks for it.
        dry: nothing is really started.
        elsewhere: it reaches hosts other than the driver's.
        takes: the options that mean something to it alone.
        shown: what a user is told of it: of what it starts programs with, or of the one it stands in for.
    """

    name: ClassVar[str]
    dry: ClassVar[bool]
    elsewhere: ClassVar[bool]
    takes: ClassVar[tuple[str, ...]]
    shown: str

    def __init__(self, started: Callable[[Session], None], options: LaunchOptions | None = None) -> None:
        """Make a launcher.

        Args:
            started: is told of each process of this host that is started, the first of its session.
            options: what a user has chosen.
        """
        ...

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return the command that ends what a run has left on other hosts where its driver was killed.

        Args:
            run_id: of the run.
            runtime: its directory among the temporary files of hosts.

        Returns:
            Nothing where all ends with the processes of the driver's host.
        """
        ...

    def inventory(self) -> Inventory:
        """Return the hosts among which programs are placed."""
        ...

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return the command by which one program is started.

        Raises:
            PlacementError: it cannot be placed there.
        """
        ...

    def start(self, launch: Launch, ends: Ends | None = None) -> Job:
        """Start one program and return at once.

        Args:
            launch: the program.
            ends: where the end of its process is heard, and so the thread on which the Job's end is reported;
                one of the launcher's by default, and where it has no process of this host.

        Raises:
            StartFailed: the operating system refused.
            PlacementError: it cannot be placed there.
        """
        ...

    def close(self) -> None:
        """Free what the launcher holds itself. All its Jobs have ended."""
        ...


def stop_together(jobs: Sequence[Job], grace_s: float) -> None:
    """Tell programs to end, all at once, and kill those that have not after a time of grace."""
    for job in jobs:
        job.terminate()
    deadline = time.monotonic() + grace_s
    for job in jobs:
        if not job.wait_ended(max(0.0, deadline - time.monotonic())):
            job.kill()
    for job in jobs:
        job.wait_ended()


def launch_environment(launch: Launch) -> dict[str, str]:
    """Return the whole environment of a program: the driver's, then what the launch adds."""
    driver = os.environ if launch.driver_environment is None else launch.driver_environment
    return {**driver, **launch.environment}
