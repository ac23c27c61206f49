"""The queue of a run: programs that wait for room, for others, or to be tried again.

One thread starts them as schedule.py decides. It hears itself of the ends of their processes: no other thread
takes the interpreter from it between the end of one program and the start of the next. Everything else that
happens comes to it as a message: programs that join, somebody who wants one stopped. Only that thread touches
the schedule, so there is nothing to lock but the choice of places, which is made outside the queue too. It
sleeps until a process ends, there is a message, or the next pause or time-out is over; nothing polls.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.database import Database
from orchestrator.errors import JobError, PenstockError, StartFailed
from orchestrator.heartbeat import Heartbeats
from orchestrator.launchers.base import Job, JobState, Launch, Launcher
from orchestrator.launchers.ends import Ends
from orchestrator.placement import Placement
from orchestrator.planning import placed_program
from orchestrator.progress import say
from orchestrator.schedule import Canceled, Overdue, Schedule, Start, Task
from orchestrator.started import Started

Message = Callable[[], None]
STOPPED = "was stopped before its turn came"


@dataclass
class _Program:
    """One that has not ended: its launch without a place, its Job, and that of the attempt that runs."""

    launch: Launch
    job: Job
    databases: Sequence[Database] = ()
    attempt: Job | None = None
    reason: str | None = None  # why it is told to end


class Queue:
    """Programs that wait for their turn. Any thread may add some, and stop them.

    Args:
        launcher: starts them.
        started: knows who holds which place.
        grace_s: how long one may take to end when its time is over, before it is killed.
        note: is told, on the queue's thread, of each Job that was started or waits again.
    """

    def __init__(
        self, launcher: Launcher, started: Started, grace_s: float, note: Callable[[Job], None]
    ) -> None:
        self._launcher = launcher
        self._started = started
        self._note = note
        self._schedule = Schedule(launcher.inventory(), grace_s)
        self._heartbeats = Heartbeats(self._note_stuck, started.note_error)
        self._programs: dict[str, _Program] = {}
        self._ends = Ends()  # of what it has started; who puts a message wakes the thread that hears them
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._joined: list[threading.Event] = []
        self._again = False  # the line is to be looked at once more
        self._stopping = False
        self._thread: threading.Thread | None = None

    def job(self, launch: Launch, task: Task, databases: Sequence[Database] = ()) -> Job:
        """Return the Job of a program that is going to join, whose snapshots these databases get."""
        job = Job(launch, partial(self._signal, launch.name), tolerated=task.policy.tolerant)
        self._programs[launch.name] = _Program(launch, job, databases)
        return job

    def join(self, tasks: Sequence[Task], awaited: Sequence[Job] = ()) -> None:
        """Let programs join, and return when those whose turn it is have been started.

        Args:
            tasks: of programs whose Jobs `job` has made.
            awaited: the Jobs that some of them come after.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="penstock-queue", daemon=True)
            self._thread.start()
        joined = threading.Event()
        self._put(partial(self._join, tasks, awaited, joined))
        if not self._on_thread():  # it may be, in the listener of a Job
            joined.wait()

    def wake(self) -> None:
        """Look at the line again: somebody outside the queue has ended and left room."""
        self._again = True
        if not self._on_thread():
            self._ends.wake()

    def stop(self) -> None:
        """Start nothing any more, and cancel those who wait."""
        self._stopping = True
        if self._thread is not None:
            self._put(self._cancel_all)

    def close(self) -> None:
        """End the threads."""
        self._heartbeats.close()
        if self._thread is not None:
            self._put(None)
            self._thread.join()
        self._ends.close()

    def _on_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _put(self, message: Message | None) -> None:
        self._inbox.put(message)
        if not self._on_thread():
            self._ends.wake()

    def _run(self) -> None:
        while True:
            for message in self._messages():
                if message is None:
                    return
                self._guarded(message)
            self._again = False
            self._guarded(self._go_on)
            while self._joined:
                self._joined.pop().set()

    def _messages(self) -> list[Message | None]:
        """Return what has come, after waiting for it; nothing when the time has come for something else."""
        for heard in self._ends.hear(self._left_s()):
            self._guarded(heard)
        messages = []
        while not self._inbox.empty():
            messages.append(self._inbox.get())
        return messages

    def _left_s(self) -> float | None:
        """Return how long there is nothing to do if nothing happens."""
        if self._again or not self._inbox.empty():
            return 0.0
        at = self._schedule.next_time()
        return None if at is None else max(0.0, at - time.monotonic())

    def _guarded(self, act: Message) -> None:
        """At the edge of the thread, on which others wait: what goes wrong is for the Experiment to raise."""
        try:
            act()
        except Exception as error:  # noqa: BLE001
            self._started.note_error(error)

    def _join(self, tasks: Sequence[Task], awaited: Sequence[Job], joined: threading.Event) -> None:
        self._joined.append(joined)
        for job in awaited:
            self._await(job)
        if self._stopping:
            for task in tasks:
                self._cancel(task.name)
            return
        for name in {name for task in tasks for name in task.after}:
            if not self._schedule.knows(name):  # an Ensemble that had completed before a resume
                self._schedule.note_completed(name)
        self._end_canceled(self._schedule.add(tasks))

    def _await(self, job: Job) -> None:
        """Have the schedule hear of the end of a program that is not, or no longer, in the queue."""
        if self._schedule.knows(job.name):
            return
        self._schedule.watch(job.name)
        if job.state.final:
            self._hear_outside(job)
        else:
            job.when_ended(lambda ended: self._put(partial(self._hear_outside, ended)))

    def _hear_outside(self, job: Job) -> None:
        self._end_canceled(self._schedule.close(job.name, job.state))

    def _go_on(self) -> None:
        """Start those whose turn it is, and end those whose time is over."""
        for overdue in self._schedule.overdue(time.monotonic()):
            self._end_overdue(overdue)
        if self._stopping:
            return
        with self._started.placing:
            outside, lasting = self._places()
            starts, hopeless = self._schedule.begin(time.monotonic(), outside, lasting)
            for start in starts:
                self._start(start)
        self._end_canceled(hopeless)

    def _places(self) -> tuple[list[Placement], list[Placement]]:
        """Return the places of programs outside the queue, and those of them that last: the databases'."""
        lasting = self._started.database_placements()
        outside = [job.placement for job in self._started.direct if job.state is JobState.ACTIVE]
        return [*lasting, *(placement for placement in outside if placement is not None)], lasting

    def _start(self, start: Start) -> None:
        program = self._programs[start.task.name]
        if self._stopping or program.job.stopping:
            self._finish(program, None, JobState.CANCELED, program.reason or STOPPED)
            return
        policy = start.task.policy
        if policy.heartbeat_s is not None:
            self._heartbeats.prepare(program.databases, policy.heartbeat_stream)
        try:
            attempt = self._launcher.start(placed_program(program.launch, start.placement), self._ends)
        except PenstockError as error:
            self._finish(program, None, JobState.FAILED, str(error), _start_failed(program.job, error))
            self.wake()  # its place is free again
            return
        except Exception as error:  # noqa: BLE001  # a fault of ours: others wait for its end all the same
            self._started.note_error(error)
            self._finish(program, None, JobState.FAILED, f"it could not be started: {error!r}")
            self.wake()
            return
        program.job.report_attempt(attempt)
        program.attempt = attempt
        if program.job.stopping:  # it was told so while it was being started
            attempt.terminate()
        attempt.when_ended(lambda ended: self._put(partial(self._hear_end, program, ended)))
        if policy.heartbeat_s is not None:
            self._heartbeats.watch(
                attempt,
                program.databases,
                heartbeat_s=policy.heartbeat_s,
                stream=policy.heartbeat_stream,
                again=program.job.attempts > 1,
            )
        self._note(program.job)

    def _hear_end(self, program: _Program, attempt: Job) -> None:
        if attempt.stopping and not program.job.stopping:
            told, program.reason = program.reason, None
            self._finish(program, attempt.returncode, JobState.FAILED, told)
        else:
            told = program.reason if attempt.state is JobState.CANCELED else attempt.reason
            self._finish(program, attempt.returncode, attempt.state, told)

    def _finish(
        self,
        program: _Program,
        returncode: int | None,
        state: JobState,
        reason: str | None,
        error: JobError | None = None,
    ) -> None:
        """An attempt has ended, or could not be made."""
        job, program.attempt = program.job, None
        ended = self._schedule.ended(job.name, state, time.monotonic())
        if ended.again:
            job.report_waiting()
            self._note(job)
            if job.stopping:
                self._put(partial(self._cancel, job.name))
            return
        del self._programs[job.name]
        job.report_ended(returncode, state, reason, error)
        for task in ended.stopped:
            other = self._programs[task.name]
            other.reason = ended.reason
            self._schedule.stop(task.name, time.monotonic())
            other.job.terminate()
        self._end_canceled(ended.canceled)

    def _end_canceled(self, canceled: Sequence[Canceled]) -> None:
        for each in canceled:
            job = self._programs.pop(each.task.name).job
            if each.error is None:
                job.report_ended(None, JobState.CANCELED, each.reason)
            else:
                error = _start_failed(job, each.error)
                job.report_ended(None, JobState.FAILED, each.reason, error)

    def _end_overdue(self, overdue: Overdue) -> None:
        program = self._programs[overdue.task.name]
        if program.reason is None:
            program.reason = f"ran longer than its {overdue.task.policy.timeout_s:g} s and was stopped"
        if program.attempt is not None:
            program.attempt.signal(signal.SIGKILL if overdue.kill else signal.SIGTERM)

    def _note_stuck(self, attempt: Job, reason: str) -> None:
        """On the thread of the heartbeats."""
        self._put(partial(self._end_stuck, attempt, reason))

    def _end_stuck(self, attempt: Job, reason: str) -> None:
        program = self._programs.get(attempt.name)
        if program is None or program.attempt is not attempt or attempt.stopping:
            return  # it has ended by itself meanwhile, or is ending
        say(f"{attempt.name} {reason}")
        program.reason = reason
        self._schedule.stop(attempt.name, time.monotonic())
        attempt.terminate()

    def _signal(self, name: str, number: int) -> None:
        """Send a signal to a program; one that waits is canceled. On any thread."""
        program = self._programs.get(name)
        if program is None:
            return
        if (attempt := program.attempt) is not None:
            attempt.signal(number)
        elif self._thread is not None:
            self._put(partial(self._cancel, name))
        else:
            self._cancel(name)  # it was about to join when the run was stopped

    def _cancel(self, name: str) -> None:
        program = self._programs.get(name)
        if program is None:
            return
        if program.attempt is not None:  # it was started before this message was read
            program.attempt.terminate()
        elif self._schedule.knows(name):
            self._end_canceled(self._schedule.cancel([name], STOPPED))
        else:
            self._end_canceled([Canceled(Task(name, name), STOPPED)])

    def _cancel_all(self) -> None:
        names = [task.name for task in self._schedule.waiting]
        self._end_canceled(self._schedule.cancel(names, STOPPED))


def _start_failed(job: Job, error: PenstockError) -> JobError:
    return (
        error if isinstance(error, JobError) else StartFailed(str(error), name=job.name, command=job.command)
    )
