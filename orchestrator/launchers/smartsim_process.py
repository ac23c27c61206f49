"""The process of SmartSim's Python that runs its launcher, as this process sees it.

It is asked by lines of JSON and answers by such lines (`smartsim_steps.py` is the other side). It lives as
long as its input is open, so it ends with this process, and stops what it has started then.
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
from typing import IO, Any

from orchestrator.errors import SmartSimError, StartFailed
from orchestrator.launchers.base import Job, JobState, Launch
from orchestrator.progress import say
from orchestrator.watcher import Session, read_stat

STEPS = Path(__file__).with_name("smartsim_steps.py")
RUN_STEPS = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
"""Unlike running it as a script, this leaves its folder, where this file is, out of the places of modules."""
SCHEDULERS = ("local", "lsf", "sge", "pals")
ANSWER_TIMEOUT_S = 120.0
"""SmartSim sleeps for seconds before it knows the number of a step of LSF."""
LEAVE_TIMEOUT_S = 30.0
GONE = "the process in which SmartSim ran has ended"
LOST = f"is lost: {GONE}"
UNTOLD = "has failed, and SmartSim does not tell its exit code"
Facts = dict[str, Any]


class SmartSimProcess:
    """The process in which SmartSim runs. Any thread may ask it; one thread hears its answers.

    Args:
        python: that has SmartSim.
        scheduler: whose launcher of SmartSim's it is to use; `auto` is the one that SmartSim finds.
        started: is told of each process of this host that is started, the first of its session.

    Raises:
        SmartSimError: SmartSim does not run, or finds a scheduler that it is not for here.
    """

    def __init__(self, python: str, scheduler: str, started: Callable[[Session], None]) -> None:
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
            answer = {"error": GONE} if gone else answers.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            answer = {"error": f"SmartSim has not answered for {ANSWER_TIMEOUT_S:g} s"}
        with self._lock:
            del self._answers[key]
        if "error" in answer:
            what = (
                f"SmartSim has no command for {launch.name!r}"
                if message["do"] == "show"
                else f"{launch.name!r} could not be started by SmartSim"
            )
            raise StartFailed(f"{what}: {answer['error']}", name=launch.name, command=launch.command)
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
            self._send({"do": "stop", "key": key, "name": launch.name})

        job = Job(launch, send)
        with self._lock:
            self._jobs[key] = job
        try:
            self.ask(launch, {"do": "start", **described}, key)
        except StartFailed:
            with self._lock:
                self._jobs.pop(key, None)
            self._send(
                {"do": "stop", "key": key, "name": launch.name}
            )  # if it only took too long it starts yet, unwatched
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
                answers.put({"error": GONE})
        for job in jobs:
            if not job.state.final:
                job.report_ended(None, JobState.FAILED, LOST)

    def _hear(self, said: Facts) -> None:
        key = said["key"]
        with self._lock:
            job, answers, stopped = self._jobs.get(key), self._answers.get(key), key in self._stopped
        if "started" in said and job is not None:
            stat = read_stat(said["pid"]) if said["pid"] is not None else None
            job.report_started(said["pid"], stat.start_time if stat is not None else None)
            if stat is not None:
                self._started(Session(stat.pid, stat.start_time))
        if "ended" not in said:
            if answers is not None:
                answers.put(said)
            elif "error" in said:
                late = (
                    "" if said["do"] == "stop" else ", and has said so late"
                )  # nobody waits for it any more
                say(f"SmartSim could not {said['do']} {said['name']}{late}: {said['error']}")
        elif job is not None:
            with self._lock:
                del self._jobs[key]
                self._stopped.discard(key)
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
