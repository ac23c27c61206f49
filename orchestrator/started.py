"""What an Experiment has started: its programs and its database, what became of them and who knows of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from orchestrator.database import Database
from orchestrator.errors import JobError
from orchestrator.launchers.base import Job, JobState
from orchestrator.placement import Placement


class Started:
    """The Jobs and databases of one Experiment. Launchers' threads tell of ends, any thread may ask and wait.

    Args:
        dry: nothing really runs: Jobs have ended at once, keep their cores, and none has failed.

    Attributes:
        jobs: of all Applications, in the order of their start; also those that wait for their turn.
        direct: those of them that did not wait in the queue.
        databases: of the Experiment.
        promised: places of shards that are being started.
        placing: held by who chooses a place for a program, until that program is seen to hold it.
    """

    def __init__(self, *, dry: bool) -> None:
        self._dry = dry
        self.jobs: list[Job] = []
        self.direct: list[Job] = []
        self.promised: list[Placement] = []
        self.databases: list[Database] = []
        self._lock = threading.RLock()  # taken itself: a signal cannot come between taking and holding it
        self._changed = threading.Condition(self._lock)
        self.placing = threading.RLock()
        self._reported: set[str] = set()
        self._errors: list[Exception] = []
        self._watched: list[Job] = []
        self._raised: list[Exception] = []

    def everything(self) -> list[Job]:
        """Return the Jobs of Applications and of shards."""
        return [*self.jobs, *(job for database in self.databases for job in database.jobs)]

    def running(self) -> list[Job]:
        """Return the Jobs of Applications that have not ended."""
        return [job for job in self.jobs if not job.state.final]

    def placements(self) -> list[Placement]:
        """Return the cores and GPUs that are in use."""
        held = [job.placement for job in self.holding() if job.placement is not None]
        return [*held, *self.promised]

    def holding(self) -> list[Job]:
        """Return the Jobs that hold what they were given: those that run, databases first."""
        shards = [job for database in self.databases for job in database.jobs]
        return [job for job in (*shards, *self.jobs) if self._dry or job.state is JobState.ACTIVE]

    def database_placements(self) -> list[Placement]:
        """Return what databases hold, which lasts as long as the run."""
        shards = [job for database in self.databases for job in database.jobs]
        held = [job.placement for job in shards if job.placement is not None and not job.state.final]
        return [*held, *self.promised]

    def failure(self) -> JobError | None:
        """Return what failed first: a database before a program, which may only be its consequence."""
        return next(self._failures(), None)

    def news(self) -> Exception | None:
        """Return the failure, or the error of a listener, that nobody has been told of yet."""
        failed = next((error for error in self._failures() if not self._is_reported(error)), None)
        return failed or self.listener_error()

    def listener_error(self) -> Exception | None:
        """Return the first error of a listener of a Job, or of the queue, that nobody has been told of."""
        errors = (*self._errors, *(job.listener_error for job in self.everything()))
        return next((error for error in errors if error is not None and error not in self._raised), None)

    def note_error(self, error: Exception) -> None:
        """Note what went wrong on a thread that nobody waits for the end of."""
        self._errors.append(error)
        self.wake()

    def report(self, error: Exception) -> None:
        """Note that an error is being raised; with a failure all there are, for it may have caused them."""
        self._raised.append(error)
        if isinstance(error, JobError):
            self._reported.update(failure.name for failure in self._failures())

    def wait(
        self, jobs: Callable[[], list[Job]], deadline: float | None
    ) -> tuple[list[Job], Exception | None]:
        """Wait until Jobs have ended or the deadline has passed, or there is news.

        Args:
            jobs: returns those that there are now; others may join meanwhile.
            deadline: by the monotonic clock.

        Returns:
            The Jobs, and the news.
        """
        known: list[Job] = []
        while len(now := jobs()) > len(known):
            known = now
            news = self._wait(known, deadline)
            if news is not None or not all(job.state.final for job in known):
                return known, news
        return known, self.news()

    def _wait(self, jobs: Sequence[Job], deadline: float | None) -> Exception | None:
        running = list(jobs)
        with self._lock:
            while True:
                news = self.news()
                while running and running[-1].state.final:
                    running.pop()
                if news is not None or not running:
                    return news
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._watched.append(running[-1])
                try:
                    self._changed.wait(left)
                finally:
                    self._watched.remove(running[-1])

    def wake(self) -> None:
        """Let those who wait look again: a Job has ended."""
        with self._lock:
            self._changed.notify_all()

    def note_end(self, job: Job) -> None:
        """Let those who wait look again if they may be interested: looking at thousands takes its time."""
        with self._lock:
            expected = job.state is JobState.COMPLETED and job.listener_error is None
            if not expected or job in self._watched or self._is_shard(job):
                self._changed.notify_all()

    def wake_all(self) -> None:
        """Let those who wait for any Job, by whatever call, look again."""
        self.wake()
        for job in self.everything():
            job.wake()

    def _is_shard(self, job: Job) -> bool:
        return any(job in database.jobs for database in self.databases)

    def _failures(self) -> Iterator[JobError]:
        if self._dry:
            return
        for database in self.databases:
            if (failure := database.failure()) is not None:
                yield failure
        failed = [job for job in self.jobs if job.state is JobState.FAILED and not job.tolerated]
        yield from (job.failure() for job in _in_order(failed))

    def _is_reported(self, failure: JobError) -> bool:
        return failure.name in self._reported or any(
            job.reported for job in self.everything() if job.name == failure.name
        )


def _in_order(jobs: Iterable[Job]) -> list[Job]:
    """Return Jobs in the order of their ends."""
    return sorted(jobs, key=lambda job: job.ended or 0.0)
