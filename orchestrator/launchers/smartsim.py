"""The smartsim launcher: hands programs to SmartSim's launchers, for schedulers that Penstock does not drive.

These are LSF, SGE and Cray PALS, and SmartSim's local one. A process of SmartSim's Python runs them
(`smartsim_steps.py`), so neither needs the other's packages. What SmartSim has not, this has not: it asks
again and again how a step is, it can only kill one, so there is no time of grace, and of a program that fails
in its first moments it does not tell the exit code. Where the ranks of a program run, its scheduler decides;
one without ranks runs here, on the cores of its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import IO, Any, ClassVar, NoReturn

from orchestrator.errors import PlacementError, SmartSimError, StartFailed, UsageError
from orchestrator.hosts import Inventory, is_here, this_host
from orchestrator.launchers.base import Job, JobState, Launch
from orchestrator.launchers.options import LaunchOptions
from orchestrator.launchers.processes import by_hand
from orchestrator.progress import say
from orchestrator.smartsim import find_smartsim

STEPS = Path(__file__).with_name("smartsim_steps.py")
RUN_STEPS = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
"""Unlike running it as a script, this leaves its folder, where this file is, out of the places of modules."""
PYTHON_VARIABLE = "PENSTOCK_SMARTSIM"
SCHEDULERS = ("local", "lsf", "sge", "pals")
ANSWER_TIMEOUT_S = 120.0
"""SmartSim sleeps for seconds before it knows the number of a step of LSF."""
LEAVE_TIMEOUT_S = 30.0
TO_LOG = 'log=$1; shift; exec "$@" >> "$log" 2>&1'
LOST = "is lost: the process in which SmartSim ran has ended"
UNTOLD = "has failed, and SmartSim does not tell its exit code"
Facts = dict[str, Any]


class SmartSimLauncher:
    """Starts programs as steps of SmartSim."""

    name: ClassVar[str] = "smartsim"
    dry: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True
    takes: ClassVar[tuple[str, ...]] = ("scheduler",)

    def __init__(
        self, started: Callable[[int], None] | None = None, options: LaunchOptions | None = None
    ) -> None:
        """Find SmartSim, and start the process that runs its launcher.

        Raises:
            SmartSimError: there is none, or it finds a scheduler here that it is not for.
            UsageError: there is no such scheduler.
        """
        self._options = options or LaunchOptions(self.name)
        chosen = self._options.scheduler
        if chosen is not None and chosen not in SCHEDULERS:
            raise UsageError(
                f"scheduler={chosen!r}: the launcher 'smartsim' is for {', '.join(SCHEDULERS)}; "
                "Penstock drives Slurm and PBS itself"
            )
        smartsim = find_smartsim(os.environ.get(PYTHON_VARIABLE))
        self._steps = _Steps(smartsim.python, chosen or "auto", started or (lambda pid: None))
        self.shown = f"{self.name} ({self._steps.scheduler}, SmartSim {smartsim.version})"
        self._told = False

    @property
    def pid(self) -> int:
        """The number of SmartSim's process."""
        return self._steps.pid

    @staticmethod
    def undo(run_id: str, runtime: Path) -> tuple[str, ...]:
        """Return nothing: SmartSim's process stops its steps when the driver has gone."""
        return ()

    def inventory(self) -> Inventory:
        """Return the hosts that were given, or this one."""
        return self._options.hosts or Inventory((this_host(),))

    def argv(self, launch: Launch) -> tuple[str, ...]:
        """Return SmartSim's command, or that of the program that needs none.

        Raises:
            PlacementError: SmartSim cannot start it there.
            StartFailed: SmartSim has no command for it.
        """
        _check_place(launch, self._steps.scheduler)
        if launch.ranks is None:
            return by_hand(launch)
        return tuple(self._steps.ask(launch, {"do": "show", **_described(launch)})["command"])

    def start(self, launch: Launch) -> Job:
        """Start one program and return when SmartSim has."""
        _check_place(launch, self._steps.scheduler)
        try:
            launch.directory.mkdir(parents=True, exist_ok=True)
            launch.log.touch()
        except OSError as error:
            raise StartFailed(
                f"{launch.name!r} could not be started: {error}", name=launch.name, command=launch.command
            ) from error
        return self._steps.start(launch, _described(launch), self._tell_of_kill)

    def close(self) -> None:
        """End SmartSim's process. All Jobs have ended."""
        self._steps.close()

    def _tell_of_kill(self, launch: Launch) -> None:
        """Say once that there is no time of grace."""
        if not self._told:
            self._told = True
            say(f"{launch.name} is killed at once: SmartSim cannot tell a program to end")


def _check_place(launch: Launch, scheduler: str) -> None:
    """Refuse what SmartSim cannot start where it has its place.

    Raises:
        PlacementError: saying what.
    """
    hosts = launch.placement.hosts if launch.placement is not None else ()
    if launch.ranks is None:
        if not all(map(is_here, hosts)):
            _refuse(launch, f"has its place on {', '.join(hosts)}", "a program without ranks runs here only")
        return
    if launch.ranks > 1 and scheduler == "local":
        _refuse(
            launch, f"asks for {launch.ranks} ranks", "its local launcher starts one process of a program"
        )
    gpus = launch.placement is not None and any(rank.gpus for rank in launch.placement.ranks)
    if gpus and scheduler != "lsf":
        _refuse(launch, "asks for GPUs of its ranks", "it has a word for these with LSF only")


def _refuse(launch: Launch, what: str, why: str) -> NoReturn:
    asked = launch.ranks or 1
    message = f"{launch.name!r} {what}, and SmartSim cannot do that: {why}"
    raise PlacementError(message, asked=asked, available=asked - 1, what="ranks")


class _Steps:
    """The process in which SmartSim runs. Any thread may ask it; one thread hears its answers."""

    def __init__(self, python: str, scheduler: str, started: Callable[[int], None]) -> None:
        self._started = started
        self._lock = threading.Lock()
        self._numbers = count()
        self._jobs: dict[str, Job] = {}
        self._answers: dict[str, queue.Queue[Facts]] = {}
        self._stopped: set[str] = set()
        self._gone = False
        self._process = subprocess.Popen(
            [python, "-c", RUN_STEPS, str(STEPS), scheduler],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "SMARTSIM_FLAG_TELEMETRY": "0", "SMARTSIM_LOG_LEVEL": "quiet"},
            start_new_session=True,
            text=True,
        )
        self.scheduler = self._greeting(python)
        self._thread = threading.Thread(target=self._hear_all, name="penstock-smartsim", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def ask(self, launch: Launch, message: Facts, key: str | None = None) -> Facts:
        """Ask something of a program and return the answer.

        Raises:
            StartFailed: SmartSim refuses, or does not answer.
        """
        key = key if key is not None else str(next(self._numbers))
        answers: queue.Queue[Facts] = queue.Queue()
        with self._lock:
            gone = self._gone
            self._answers[key] = answers
        try:
            if not gone:
                self._send({**message, "key": key})
            answer = {"error": LOST} if gone else answers.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            answer = {"error": f"SmartSim has not answered for {ANSWER_TIMEOUT_S:g} s"}
        with self._lock:
            del self._answers[key]
        if "error" in answer:
            raise StartFailed(
                f"{launch.name!r} could not be started by SmartSim: {answer['error']}",
                name=launch.name,
                command=launch.command,
            )
        return answer

    def start(self, launch: Launch, described: Facts, tell: Callable[[Launch], None]) -> Job:
        """Start a program.

        Args:
            launch: the program.
            described: as SmartSim's process wants it.
            tell: is called before it is killed.
        """
        key = str(next(self._numbers))

        def send(number: int) -> None:
            if number != signal.SIGKILL:
                tell(launch)
            with self._lock:
                self._stopped.add(key)
            self._send({"do": "stop", "key": key})

        job = Job(launch, send)
        with self._lock:
            self._jobs[key] = job
        try:
            self.ask(launch, {"do": "start", **described}, key)
        except StartFailed:
            with self._lock:
                self._jobs.pop(key, None)
            raise
        return job

    def close(self) -> None:
        """Let the process stop what runs, and leave."""
        with contextlib.suppress(BrokenPipeError):  # it has left already
            self._stdin.close()
        try:
            self._process.wait(LEAVE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        self._stdout.close()

    @property
    def _stdin(self) -> IO[str]:
        assert self._process.stdin is not None  # it is a pipe
        return self._process.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._process.stdout is not None  # it is a pipe
        return self._process.stdout

    def _greeting(self, python: str) -> str:
        """Return whose launcher SmartSim uses."""
        line = self._stdout.readline()
        said: Facts = json.loads(line) if line else {}
        if "scheduler" in said:
            return str(said["scheduler"])
        self._stdin.close()
        self._stdout.close()
        code = self._process.wait()
        raise SmartSimError(
            f"{said['refused']}; name another: LaunchOptions('smartsim', scheduler=...), "
            f"of {', '.join(SCHEDULERS)}"
            if said
            else f"{python} cannot run SmartSim: it has ended with {code}, and what it said is above"
        )

    def _send(self, message: Facts) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):  # the thread hears of the process's end
            self._stdin.write(json.dumps(message) + "\n")
            self._stdin.flush()

    def _hear_all(self) -> None:
        for line in self._stdout:
            self._hear(json.loads(line))
        with self._lock:
            self._gone = True
            jobs, self._jobs = list(self._jobs.values()), {}
            for answers in self._answers.values():
                answers.put({"error": LOST})
        for job in jobs:
            if not job.state.final:
                job.report_ended(None, JobState.FAILED, LOST)

    def _hear(self, said: Facts) -> None:
        key = said["key"]
        with self._lock:
            job, answers, stopped = self._jobs.get(key), self._answers.get(key), key in self._stopped
        if "started" in said and job is not None:
            job.report_started(said["pid"])
            if said["pid"] is not None:
                self._started(said["pid"])
        if "ended" not in said:
            if answers is not None:
                answers.put(said)
            elif "error" in said:
                say(f"SmartSim could not stop {job.name if job is not None else key}: {said['error']}")
        elif job is not None:
            with self._lock:
                del self._jobs[key]
            _report(job, said, stopped=stopped)


def _report(job: Job, said: Facts, *, stopped: bool) -> None:
    """Report the end of a program; one that was stopped was killed by SmartSim."""
    code = said["returncode"]
    if stopped and code in (None, -signal.SIGKILL):
        job.report_ended(code, JobState.CANCELED)
    elif code is None:
        completed = said["completed"]
        job.report_ended(
            None, JobState.COMPLETED if completed else JobState.FAILED, None if completed else UNTOLD
        )
    else:
        job.report_ended(code)


def _described(launch: Launch) -> Facts:
    """Return a program as SmartSim's process wants it; a shell lets it write its own log."""
    placement = launch.placement
    command = by_hand(launch) if launch.ranks is None else launch.command
    hosts = placement.hosts if placement is not None else ()
    most = max((sum(1 for _ in placement.on(host)) for host in hosts), default=0) if placement else 0
    return {
        "name": launch.name,
        "command": ["sh", "-c", TO_LOG, "sh", str(launch.log), *command],
        "directory": str(launch.directory),
        "environment": dict(launch.environment),
        "ranks": launch.ranks,
        "cores_per_rank": len(placement.ranks[0].cores) if placement is not None else 1,
        "gpus_per_rank": len(placement.ranks[0].gpus) if placement is not None else 0,
        "ranks_per_host": most or None,
    }
