"""What makes sure that nothing outlives a driver: the watcher beside it, and its reaction to signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from orchestrator import watcher
from orchestrator.errors import WaitTimeout
from orchestrator.progress import say
from orchestrator.run_files import RunFiles
from orchestrator.watcher import (
    GOODBYE,
    RUN_ID_VARIABLE,
    SWEEP_DEADLINE_S,
    Session,
    note_session,
    noted_sessions,
    sweep,
)

RESTARTS = 5
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None]
Reaction = Callable[[int], None]


class Guard:
    """The watcher of one run, kept alive as long as the run lasts.

    A thread waits for its end. A watcher that somebody kills is replaced; the notes of sessions stay.

    Args:
        files: of the run.
        undo: the command that ends what the run has left on other hosts, where its driver was killed.
    """

    def __init__(self, files: RunFiles, undo: Sequence[str] = ()) -> None:
        self._files = files
        self._undo = undo
        self._lock = threading.Lock()
        self._leaving = False
        self._swept = False
        self._notes = os.memfd_create("penstock-sessions")
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
        return noted_sessions(self._notes)

    def add(self, session: Session) -> None:
        """Note the session of a program that was just started."""
        with self._lock:
            note_session(self._notes, session)
            self._swept = False

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
                _send(self._pipe, GOODBYE)
            self._pipe.close()
        self._thread.join()
        os.close(self._notes)

    @property
    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise AssertionError("the watcher is started with a pipe")
        return self._process.stdin

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {key: text for key, text in os.environ.items() if key != RUN_ID_VARIABLE}
        driver, notes = str(os.getpid()), str(self._notes)
        arguments = (driver, notes, self._files.run_id, str(self._files.runtime), *self._undo)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(watcher.__file__)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            pass_fds=(self._notes,),
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
        say(f"the watcher of {self._files.run_id} has ended {RESTARTS} times")
        self._process.wait()


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
    """Send a message to a watcher. If it has just been killed, there is nobody left to hear it."""
    with contextlib.suppress(BrokenPipeError):
        pipe.write(message)


@contextlib.contextmanager
def ended_by_signals(wake: Callable[[], None]) -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into what a Ctrl-C raises, so that a driver leaves in good order.

    A signal that the user's script handles or ignores is left alone, and so is every thread but the main one.

    Args:
        wake: called on a thread of its own after each signal; lets the main thread's waits look again.
    """
    with _handled(
        (signal.SIG_DFL, signal.default_int_handler, _terminated), _terminated, lambda number: wake()
    ):
        yield


@contextlib.contextmanager
def hurried_by_signals(hurry: Callable[[int], None]) -> Iterator[None]:
    """While everything is being stopped let a signal hurry it on instead of breaking it off.

    Args:
        hurry: is told each signal, on a thread of its own: it takes locks that the interrupted code may hold.

    Raises:
        KeyboardInterrupt: afterwards, if there was a signal.
    """
    said: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        said.append(signal.Signals(number).name)

    with _handled((_terminated,), note, hurry):
        yield
    if said:
        raise KeyboardInterrupt(f"ended by {said[0]}")


@contextlib.contextmanager
def _handled(replaced: Sequence[object], handler: Handler, react: Reaction) -> Iterator[None]:
    """Handle those of the ending signals whose handler is one of `replaced`, and put that back afterwards.

    Python runs a handler when its main thread next runs Python code. A signal that comes as that thread is
    about to wait for a lock does not end the wait, so `react` is called from a thread that hears of each.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in ENDING if signal.getsignal(number) in replaced]
    with _heard(ours, react):
        former = {number: signal.signal(number, handler) for number in ours}
        try:
            yield
        finally:
            for number, before in former.items():
                signal.signal(number, before)


@contextlib.contextmanager
def _heard(numbers: Sequence[int], react: Reaction) -> Iterator[None]:
    """Call `react` on a thread of its own after each of these signals, once Python knows of it."""
    heard, told = os.pipe()
    os.set_blocking(told, False)
    former = -1

    def listen() -> None:
        with os.fdopen(heard, "rb", buffering=0) as pipe:
            while number := pipe.read(1):
                if former != -1:
                    with contextlib.suppress(OSError):  # whoever listened before us may have left
                        os.write(former, number)
                if number[0] in numbers:
                    _try(react, number[0])

    thread = threading.Thread(target=listen, name="penstock-signals", daemon=True)
    thread.start()
    try:
        former = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        yield
    finally:
        signal.set_wakeup_fd(former)
        os.close(told)  # the thread reads the end, and leaves
        thread.join()


def _try(react: Reaction, number: int) -> None:
    """At the edge of a thread that must go on to hear the next signal."""
    try:
        react(number)
    except Exception as error:  # noqa: BLE001
        say(f"cannot do what a signal asks for: {error}")


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"ended by {signal.Signals(number).name}")
