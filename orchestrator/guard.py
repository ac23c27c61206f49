"""What makes sure that nothing outlives a driver: the watcher beside it, and its reaction to signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from orchestrator import watcher
from orchestrator.errors import WaitTimeout
from orchestrator.progress import say
from orchestrator.run_files import RunFiles
from orchestrator.watcher import RUN_ID_VARIABLE, SWEEP_DEADLINE_S, Session, read_stat, sweep

RESTARTS = 5
Handler = Callable[[int, FrameType | None], None]


class Guard:
    """The watcher of one run, kept alive as long as the run lasts.

    A thread waits for its end. A watcher that somebody kills is replaced, and told again of every session.
    """

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._leaving = False
        self._swept = False
        self._sessions: set[Session] = set()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, name="penstock-guard", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The watcher's process number."""
        return self._process.pid

    @property
    def sessions(self) -> set[Session]:
        """The sessions that the run has opened."""
        with self._lock:
            return set(self._sessions)

    def add(self, pid: int) -> None:
        """Tell the watcher of a program that was just started, the first of its session."""
        stat = read_stat(pid)
        if stat is None:
            return  # it has ended and been waited for
        with self._lock:
            session = Session(pid, stat.start_time)
            self._sessions.add(session)
            self._swept = False
            self._tell(session)

    def sweep(self) -> None:
        """Kill whatever the run has left.

        Raises:
            WaitTimeout: some of it could not be killed.
        """
        end_leftovers(self._files.run_id, self.sessions)
        self._swept = True

    def leave(self) -> None:
        """Take leave of the watcher. If the sweep was interrupted or never came, the watcher does it."""
        with self._lock:
            self._leaving = True
            if self._swept:
                _send(self._pipe, b"bye\n")
            self._pipe.close()
        self._thread.join()

    @property
    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise AssertionError("the watcher is started with a pipe")
        return self._process.stdin

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {key: text for key, text in os.environ.items() if key != RUN_ID_VARIABLE}
        arguments = (str(os.getpid()), self._files.run_id, str(self._files.runtime))
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(watcher.__file__)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )

    def _keep(self) -> None:
        for _ in range(RESTARTS):
            self._process.wait()
            with self._lock:
                if self._leaving:
                    return
                self._pipe.close()
                self._process = self._start()
                for session in self._sessions:
                    self._tell(session)
        say(f"the watcher of {self._files.run_id} has ended {RESTARTS} times")
        self._process.wait()

    def _tell(self, session: Session) -> None:
        _send(self._pipe, f"session {session.leader} {session.start_time}\n".encode())


def end_leftovers(run_id: str, sessions: set[Session]) -> set[int]:
    """Kill the processes of a run until none is left; return those that were hit.

    Raises:
        WaitTimeout: some could not be killed; names them.
    """
    try:
        return set(sweep(run_id, sessions))
    except TimeoutError as error:
        raise WaitTimeout(f"their end: {error}", SWEEP_DEADLINE_S) from error


def _send(pipe: IO[bytes], message: bytes) -> None:
    """Send a message to a watcher. If it has just been killed nothing is lost: the next hears it all."""
    with contextlib.suppress(BrokenPipeError):
        pipe.write(message)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into what a Ctrl-C raises, so that a driver leaves in good order.

    A signal that the user's script handles or ignores is left alone, and so is every thread but the main one.
    """
    with _handled(lambda number: signal.getsignal(number) == signal.SIG_DFL, _terminated):
        yield


@contextlib.contextmanager
def killing_on_signals(kill: Callable[[], None]) -> Iterator[None]:
    """While everything is being stopped let a signal hurry it on, by `kill`, instead of breaking it off.

    `kill` takes locks that the interrupted code may hold, so it runs on a thread of its own.

    Raises:
        KeyboardInterrupt: afterwards, if there was a signal.
    """
    said: list[str] = []

    def hurry(number: int, frame: FrameType | None) -> None:
        said.append(signal.Signals(number).name)
        threading.Thread(target=kill, name="penstock-kill").start()

    with _handled(
        lambda number: signal.getsignal(number) in (signal.default_int_handler, _terminated), hurry
    ):
        yield
    if said:
        raise KeyboardInterrupt(f"ended by {said[0]}")


@contextlib.contextmanager
def _handled(ours: Callable[[signal.Signals], bool], handler: Handler) -> Iterator[None]:
    """Handle those of the ending signals that `ours` chooses, and put the former handlers back."""
    former = {}
    if threading.current_thread() is threading.main_thread():
        ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        former = {number: signal.signal(number, handler) for number in ending if ours(number)}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")
