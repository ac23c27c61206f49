"""Whose turn it is: which programs start now, which wait, which never will. Pure: times and places are given.

Who waits stands in a line, by priority and then by arrival. Whoever finds room starts. Who does not, of each
kind the first, gets a *reservation*: the place it would have if nothing of this queue ran. Those behind may
overtake it, but not onto reserved cores, so that a large program is not kept waiting by small ones for ever,
and a place that it cannot use anyway is not left idle. Reservations do not move while the same programs are
outside the queue, so what was reserved is free as soon as those who run there have ended.

A program that comes after others joins the line when all of them have completed, and is canceled when one
has not. One that failed and is to be tried again stands aside until its pause is over.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from orchestrator.errors import PlacementError
from orchestrator.hosts import Inventory
from orchestrator.launchers.base import JobState
from orchestrator.placement import Placement
from orchestrator.placing import find_place, place
from orchestrator.policy import Policy
from orchestrator.resources import Resources, is_called
from orchestrator.rooms import beside, rooms_of

HAPPENED = {JobState.FAILED: "has failed", JobState.CANCELED: "was canceled"}


@dataclass(frozen=True)
class Task:
    """A program that is to be started when its turn comes.

    Attributes:
        name: its own.
        group: that of its Ensemble, its own where there is none.
        resources: what it needs.
        policy: how it is treated.
        after: names of programs and groups that must have completed first.
        share: it may share cores with others rather than wait for some of its own.
    """

    name: str
    group: str
    resources: Resources = field(default_factory=Resources)
    policy: Policy = field(default_factory=Policy)
    after: tuple[str, ...] = ()
    share: bool = False


@dataclass(frozen=True)
class Canceled:
    """A task that will never be started, and why; with the error where it cannot be placed."""

    task: Task
    reason: str
    error: PlacementError | None = None


@dataclass(frozen=True)
class Start:
    """A task that is to be started now, and where."""

    task: Task
    placement: Placement


@dataclass(frozen=True)
class Overdue:
    """A task that is to be told to end, or killed where it has been told before."""

    task: Task
    kill: bool


@dataclass(frozen=True)
class Ended:
    """What follows from an end.

    Attributes:
        again: the task stands aside, to be tried again.
        canceled: tasks that are not started any more.
        stopped: tasks that run and are to be told to end, by `stop`.
        reason: why, where there are any of these.
    """

    again: bool = False
    canceled: tuple[Canceled, ...] = ()
    stopped: tuple[Task, ...] = ()
    reason: str = ""


class _Kind(NamedTuple):
    """What makes one find room where another does: where one was refused, the next of its kind is too."""

    resources: int
    share: bool
    after: tuple[str, ...]


@dataclass
class _Waiting:
    task: Task
    number: int
    attempts: int = 0
    not_before: float = 0.0

    def __post_init__(self) -> None:
        self.rank = (-self.task.policy.priority, self.number)
        self.kind = _Kind(id(self.task.resources), self.task.share, self.task.after)


@dataclass
class _Running:
    waited: _Waiting
    placement: Placement
    due: float = math.inf
    told: bool = False


@dataclass
class _Awaited:
    """A program or group that others come after: how many have not ended, and who did not complete."""

    unfinished: int = 0
    broken: str | None = None


class Schedule:
    """The line of those who wait, and those of them who run.

    Args:
        inventory: the hosts there are.
        grace_s: how long one that was told to end may take before it is to be killed.
    """

    def __init__(self, inventory: Inventory, grace_s: float) -> None:
        self._inventory = inventory
        self._grace_s = grace_s
        self._line: dict[_Kind, list[_Waiting]] = {}  # of each kind by rank
        self._in_line: dict[str, _Waiting] = {}
        self._aside: dict[str, _Waiting] = {}
        self._running: dict[str, _Running] = {}
        self._awaited: dict[str, _Awaited] = {}
        self._stopped: dict[str, str] = {}
        self._count = 0

    @property
    def waiting(self) -> list[Task]:
        """Those that have not been started, or are to be started again, in the order of the line."""
        line = sorted(self._in_line.values(), key=_rank)
        return [waiting.task for waiting in (*line, *self._aside.values())]

    @property
    def running(self) -> list[Task]:
        """Those that run."""
        return [running.waited.task for running in self._running.values()]

    def knows(self, name: str) -> bool:
        """Tell whether a program or group has been added or is watched."""
        return name in self._awaited

    def watch(self, name: str) -> None:
        """Note a program outside the queue that somebody comes after; `close` tells of its end."""
        self._awaited.setdefault(name, _Awaited(unfinished=1))

    def note_completed(self, name: str) -> None:
        """Note a group that has completed without having been here."""
        self._awaited.setdefault(name, _Awaited())

    def close(self, name: str, state: JobState) -> tuple[Canceled, ...]:
        """Note the end of a program outside the queue; return who is not started any more."""
        self._settle((name,), name, state)
        return tuple(self._without_hope())

    def add(self, tasks: Sequence[Task]) -> tuple[Canceled, ...]:
        """Let programs join the line; return those that cannot."""
        for task in tasks:
            for name in {task.name, task.group}:
                self._awaited.setdefault(name, _Awaited()).unfinished += 1
            self._join_line(_Waiting(task, self._count))
            self._count += 1
        stopped = [task for task in tasks if task.group in self._stopped]
        late = [self._cancel(task, self._stopped[task.group]) for task in stopped]
        return (*late, *self._without_hope())

    def begin(
        self, now: float, outside: Sequence[Placement], lasting: Sequence[Placement] = ()
    ) -> tuple[list[Start], list[Canceled]]:
        """Return who starts now and who never can. The former count as running from now on.

        Args:
            now: the time, s.
            outside: places of programs that are not in the queue.
            lasting: those of them that do not end before the run does.
        """
        self._return_to_line(now)
        turn = _Turn(self._inventory, outside, [running.placement for running in self._running.values()])
        starts: list[Start] = []
        refused: list[Task] = []
        for waiting in self._in_turn(turn):
            placement = turn.place(waiting.task)
            if placement is None:
                refused.append(waiting.task)
            else:
                self._leave_line(waiting)
                self._run(waiting, placement, now)
                starts.append(Start(waiting.task, placement))
        if self._running or self._aside or len(outside) > len(lasting):
            return starts, []  # somebody will end, and leave room
        return starts, [self._cancel(task, str(why), why) for task in refused if (why := turn.refusal(task))]

    def ended(self, name: str, state: JobState, now: float) -> Ended:
        """Note the end of one that ran, and return what follows from it."""
        waited = self._running.pop(name).waited
        task, policy = waited.task, waited.task.policy
        failed = state is JobState.FAILED
        if failed and waited.attempts <= policy.retries and task.group not in self._stopped:
            waited.not_before = now + policy.pause_after(waited.attempts)
            self._aside[name] = waited
            return Ended(again=True)
        self._settle({task.name, task.group}, task.name, state)
        reason = f"{name!r} has failed"
        canceled: list[Canceled] = []
        stopped: list[Task] = []
        if failed and not policy.tolerant and task.group not in self._stopped:
            self._stopped[task.group] = reason
            canceled = [self._cancel(other, reason) for other in self.waiting if other.group == task.group]
            stopped = [other for other in self.running if other.group == task.group]
        hopeless = self._without_hope() if state is not JobState.COMPLETED else ()
        return Ended(False, (*canceled, *hopeless), tuple(stopped), reason)

    def cancel(self, names: Iterable[str], reason: str) -> tuple[Canceled, ...]:
        """Take programs that wait out of the line; return them, and those who come after them."""
        found = [self._in_line.get(name) or self._aside.get(name) for name in names]
        canceled = [self._cancel(waiting.task, reason) for waiting in found if waiting is not None]
        return (*canceled, *self._without_hope()) if canceled else ()

    def stop(self, name: str, now: float) -> None:
        """Note that one that runs has been told to end; it is overdue when its time of grace is over."""
        running = self._running[name]
        running.told, running.due = True, now + self._grace_s

    def overdue(self, now: float) -> list[Overdue]:
        """Return who is to be told to end now, or killed; each is returned once for either."""
        found = []
        for running in self._running.values():
            if running.due <= now:
                found.append(Overdue(running.waited.task, running.told))
                running.due = math.inf if running.told else now + self._grace_s
                running.told = True
        return found

    def next_time(self) -> float | None:
        """Return when there will be something to do although nothing has happened; None if never."""
        times = [waiting.not_before for waiting in self._aside.values()]
        times += [running.due for running in self._running.values()]
        earliest = min(times, default=math.inf)
        return earliest if earliest < math.inf else None

    def _in_turn(self, turn: _Turn) -> Iterator[_Waiting]:
        """Yield those whose turn may be now by rank; of each kind until the first that finds no room."""
        heads = [(line[0].rank, line, 0) for kind, line in self._line.items() if self._completed(kind.after)]
        heapify(heads)
        while heads:
            _, line, number = heappop(heads)
            waiting = line[number]
            yield waiting
            if waiting.task.name in self._in_line:
                if not turn.choosy:
                    continue
                number += 1
            if number < len(line):
                heappush(heads, (line[number].rank, line, number))

    def _run(self, waiting: _Waiting, placement: Placement, now: float) -> None:
        waiting.attempts += 1
        timeout_s = waiting.task.policy.timeout_s
        due = math.inf if timeout_s is None else now + timeout_s
        self._running[waiting.task.name] = _Running(waiting, placement, due)

    def _join_line(self, waiting: _Waiting) -> None:
        insort(self._line.setdefault(waiting.kind, []), waiting, key=_rank)
        self._in_line[waiting.task.name] = waiting

    def _leave_line(self, waiting: _Waiting) -> None:
        line = self._line[waiting.kind]
        del line[bisect_left(line, waiting.rank, key=_rank)]
        if not line:
            del self._line[waiting.kind]
        del self._in_line[waiting.task.name]

    def _return_to_line(self, now: float) -> None:
        for waiting in [each for each in self._aside.values() if each.not_before <= now]:
            del self._aside[waiting.task.name]
            self._join_line(waiting)

    def _completed(self, names: Iterable[str]) -> bool:
        return all(self._awaited[name].unfinished == 0 for name in names)

    def _cancel(self, task: Task, reason: str, error: PlacementError | None = None) -> Canceled:
        if self._aside.pop(task.name, None) is None:
            self._leave_line(self._in_line[task.name])
        self._settle({task.name, task.group}, task.name, JobState.FAILED if error else JobState.CANCELED)
        return Canceled(task, reason, error)

    def _settle(self, names: Iterable[str], who: str, state: JobState) -> None:
        for name in names:
            awaited = self._awaited[name]
            awaited.unfinished -= 1
            if state is not JobState.COMPLETED and awaited.broken is None:
                awaited.broken = f"{who!r} {HAPPENED[state]}"

    def _without_hope(self) -> Iterator[Canceled]:
        """Cancel those who come after something that did not complete, then those who come after them."""
        broken = True
        while broken:
            broken = False
            for task in self.waiting:
                reasons = (self._awaited[name].broken for name in task.after)
                if (reason := next(filter(None, reasons), None)) is not None:
                    broken = True
                    yield self._cancel(task, f"{reason}, and this was to come after it")


class _Turn:
    """One look at the line: who finds room beside those who run, and whose places are reserved."""

    def __init__(
        self, inventory: Inventory, outside: Sequence[Placement], running: Sequence[Placement]
    ) -> None:
        self._inventory = inventory
        self._outside = list(outside)
        self._running = list(running)
        self._rooms = rooms_of(inventory, [*outside, *running])  # what these and the reservations leave
        self._reserved: list[Placement] = []
        self._refused: Task | None = None  # gets its reservation when somebody comes who might overtake it
        self.choosy = any(each.away_from for each in (*outside, *running))
        """Whether somebody shuns others by their names, so that not all of a kind are refused as one is."""

    def place(self, task: Task) -> Placement | None:
        """Return the place of a task, which counts as running from now on; None where there is no room."""
        if self._refused is not None:
            self._reserve(self._refused)
            self._refused = None
        placement = find_place(task.name, task.resources, self._rooms, share=task.share)
        if placement is None:
            self._refused = task
            return None
        self._running.append(placement)
        self._rooms = beside(self._rooms, placement)
        self.choosy = self.choosy or placement.away_from is not None
        return placement

    def refusal(self, task: Task) -> PlacementError | None:
        """Return why there is no room for a task, where nobody of the queue runs: nothing is reserved."""
        try:
            place(task.name, task.resources, self._inventory, self._outside, share=task.share)
        except PlacementError as error:
            return error
        return None

    def _reserve(self, task: Task) -> None:
        """Reserve a place, unless it waits for somebody outside the queue, or behind another reservation."""
        near = task.resources.near
        company = [each for each in self._running if near is not None and is_called(near, each.program)]
        rooms = rooms_of(self._inventory, [*self._outside, *company, *self._reserved])
        reserved = find_place(task.name, task.resources, rooms, share=task.share)
        if reserved is not None:
            self._reserved.append(reserved)
            self._rooms = beside(self._rooms, reserved)


def _rank(waiting: _Waiting) -> tuple[int, int]:
    return waiting.rank
