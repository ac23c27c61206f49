"""When a run must end: at its own limit, or before the allocation does that it runs in.

Its time being over is told to the driver as a scheduler would tell it, by a SIGTERM to its main thread: that
ends it in order wherever it is, in a wait of ours or in the user's own code. The difference is only what the
run says of it. An allocation may be prolonged meanwhile, so its scheduler is asked again when the
time seems over.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass

from orchestrator.errors import SchedulerError, TimeOver, UsageError
from orchestrator.policy import is_time
from orchestrator.progress import say
from orchestrator.schedulers.table import job_here

LONGEST_S = threading.TIMEOUT_MAX / 2


@dataclass(frozen=True)
class End:
    """A moment at which a run must have ended, seconds since 1970, and what ends it."""

    at: float
    of: str


class RunTime:
    """The time of one run.

    Args:
        time_limit_s: how long it may take; None for ever.
        stop_before_s: how long before its time is over it is ended; None: at the limit, and not for the sake
            of an allocation.
    """

    def __init__(self, time_limit_s: float | None = None, stop_before_s: float | None = None) -> None:
        for name, given in (("time_limit_s", time_limit_s), ("stop_before_s", stop_before_s)):
            if given is not None and not (is_time(given) and given > 0):
                raise UsageError(f"Experiment({name}={given!r}): must be a number of seconds above 0")
        self._limit_s = time_limit_s
        self._before_s = stop_before_s
        if time_limit_s is not None and self._margin_s >= time_limit_s:
            raise UsageError(
                f"Experiment(time_limit_s={time_limit_s:g}, stop_before_s={stop_before_s:g}): nothing is left"
            )
        self._began = time.time()
        self._ends: End | None = None
        self._stopped = threading.Event()
        self._telling = threading.Lock()
        self._thread: threading.Thread | None = None
        self.over: TimeOver | None = None
        """Why the run was told to end, once it was."""

    @property
    def limited(self) -> bool:
        """Whether the run may have to end before it is through."""
        return self._limit_s is not None or self._before_s is not None

    def begin(self) -> None:
        """Let the time run; `watch` tells when it is over.

        Raises:
            UsageError: the driver could not be told, for this is not its main thread; or no time is left.
            SchedulerError: nobody tells when the allocation ends.
        """
        self._began = time.time()
        if not self.limited:
            return
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("time_limit_s and stop_before_s need the Experiment to be in the main thread")
        end = self._end()
        if end is None:
            say("stop_before_s: nothing is stopped, for there is no time_limit_s and no allocation that ends")
            return
        if end.at - self._margin_s <= self._began:
            raise UsageError(f"there is no time left: {self._told(end)}")
        self._ends = end

    def watch(self) -> None:
        """Tell the driver when its time is over, from a thread that sleeps until then."""
        if self._ends is None:
            return
        self._thread = threading.Thread(
            target=self._watch, args=(self._ends,), name="penstock-time", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """From now on the run is told nothing any more."""
        with self._telling:
            self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def _margin_s(self) -> float:
        return self._before_s or 0.0

    def _watch(self, end: End) -> None:
        while not self._stopped.wait(min(LONGEST_S, max(0.0, end.at - self._margin_s - time.time()))):
            end = self._end_now(end)
            if end.at - self._margin_s <= time.time():
                self._tell(end)
                return

    def _tell(self, end: End) -> None:
        with self._telling:
            if not self._stopped.is_set():
                self.over = TimeOver(f"the time of the run is over: {self._told(end)}", end=end.at)
                say(f"{self.over}; it is ended in order")
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _end_now(self, known: End) -> End:
        """Return when the run must end as it stands now."""
        try:
            return self._end() or known
        except SchedulerError as error:
            say(f"{error}; what was said before is taken for true")
            return known

    def _end(self) -> End | None:
        """Return the first of the ends that there are."""
        ends = []
        if self._limit_s is not None:
            ends.append(End(self._began + self._limit_s, f"its limit of {self._limit_s:g} s"))
        job = job_here() if self._before_s is not None else None
        end = job.scheduler.end_of(job.number) if job is not None else None
        if job is not None and end is not None:
            ends.append(End(end, f"the end of the allocation {job.number}"))
        return min(ends, key=lambda end: end.at, default=None)

    def _told(self, end: End) -> str:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(end.at))
        before = f"{self._margin_s:g} s before " if self._margin_s else ""
        return f"{before}{end.of}, at {at}"
