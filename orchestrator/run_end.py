"""The end of a run: programs, then databases, then what they have left; and what its record says of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.errors import RunError, TimeOver
from orchestrator.guard import Guard, hurried_by_signals
from orchestrator.launchers.base import Launcher, stop_together
from orchestrator.progress import say
from orchestrator.queueing import Queue
from orchestrator.recording import RunRecord
from orchestrator.resuming import Saves
from orchestrator.run_files import OUT_OF_TIME
from orchestrator.run_time import RunTime
from orchestrator.started import Started


@dataclass(frozen=True)
class RunEnd:
    """How one run ends.

    Attributes:
        started: what it has started.
        queue: where programs wait for their turn.
        launcher: of the run.
        saves: of its databases.
        time: when it must end.
        grace_s: how long programs may take when they are told to end, before they are killed.
        guard: of the run; None where nothing is really started.
        record: of the run; None likewise.
    """

    started: Started
    queue: Queue
    launcher: Launcher
    saves: Saves
    time: RunTime
    grace_s: float
    guard: Guard | None
    record: RunRecord | None

    def stop_all(self, *, interrupted: bool = False, early: bool = False) -> None:
        """End programs, then databases, then what they have left; a signal meanwhile hurries that on.

        Databases of a run that ends early are saved for its resume, when its programs write no more.
        Schedulers send their signal twice, and so may who is in doubt, so it takes a third to lose the save;
        a Ctrl-C again is somebody who does not want to wait.
        """
        saves = early and (self.saves.wanted or self.time.over is not None)
        patient = saves

        def hurry(number: int) -> None:
            nonlocal patient
            for job in self.started.running():
                job.kill()
            if patient and number != signal.SIGINT:
                patient = False
                say("programs are killed, then the databases are saved; another signal kills these too")
            else:
                self._kill_all()

        with hurried_by_signals(hurry):
            if interrupted:
                say("stopping everything; Ctrl-C again kills at once")
            self.queue.stop()
            stop_together(self.started.running(), self.grace_s)
            self.saves.stop()
            if saves:
                self.saves.save()
            patient = False
            for database in self.started.databases:
                database.stop()
            if self.guard is not None:
                self.guard.sweep()

    def leave(self, error: BaseException | None, stop: Callable[[bool, bool], None]) -> Exception | None:
        """End the run, and return what is to be raised in place of an error, or although there is none.

        Args:
            error: what ended the user's block.
            stop: ends everything; is told whether it was interrupted, and whether it ends early.

        Raises:
            KeyboardInterrupt: somebody could not wait for the end.
        """
        news = self.started.news()
        interrupt = self._stop_time()
        error = error or interrupt
        over = self.time.over if isinstance(error, KeyboardInterrupt) else None
        try:
            stop(isinstance(error, KeyboardInterrupt), error is not None or news is not None)
        except KeyboardInterrupt as interrupt:
            error = interrupt
            raise
        finally:
            self.launcher.close()
            self.queue.close()  # from now on no listener is called
            news = news or self.started.listener_error()
            unwritten = close_record(self.record, over or error or self.started.failure() or news)
        if interrupt is not None and interrupt is error and over is None:
            raise interrupt
        return over or (news or unwritten if error is None else None)

    def _stop_time(self) -> KeyboardInterrupt | None:
        """Return what came at the last moment: the end of the time, or somebody who could not wait."""
        try:
            self.time.stop()
        except KeyboardInterrupt as interrupt:
            return interrupt
        return None

    def _kill_all(self) -> None:
        for job in self.started.everything():
            job.kill()


def close_record(record: RunRecord | None, error: BaseException | None) -> RunError | None:
    """Write how the run has ended, and say how to go on with one that was interrupted.

    Returns:
        why it cannot be written, where the run itself went well.
    """
    if record is None:
        return None
    state = "completed" if error is None else "failed"
    if isinstance(error, KeyboardInterrupt):
        state = "interrupted"
    if isinstance(error, TimeOver):
        state = OUT_OF_TIME
    try:
        record.close(state=state, error=None if error is None else str(error), ended=time.time())
    except RunError as unwritten:
        if error is None:
            return unwritten
        say(str(unwritten))
    if state == "interrupted":
        say(record.how_to_go_on())
    return None
