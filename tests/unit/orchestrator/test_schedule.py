"""Whose turn it is: nothing overlaps, nobody starves, every line drains."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import PlacementError
from orchestrator.hosts import Host, Inventory
from orchestrator.launchers.base import JobState
from orchestrator.placement import Placement
from orchestrator.placing import place
from orchestrator.policy import Policy
from orchestrator.resources import Resources
from orchestrator.schedule import Canceled, Schedule, Task

GRACE_S = 3.0
LONGEST_S = 9
HOST = Inventory((Host("a", (0, 1, 2, 3), gpus=(0,)),))
TWO_HOSTS = Inventory((Host("a", (0, 1, 2)), Host("b", (5, 6, 7, 8), gpus=(0,))))
COMPLETED, FAILED, CANCELED = JobState.COMPLETED, JobState.FAILED, JobState.CANCELED


@dataclass
class Member:
    """A task of a simulation: how long each attempt takes, and how many of them fail."""

    task: Task
    lasts_s: int
    failing: int
    arrives: int


@dataclass
class World:
    """A simulated clock, what runs by it, and what has happened."""

    inventory: Inventory
    members: dict[str, Member]
    outside: dict[str, tuple[Placement, int]]
    now: float = 0.0
    runs: dict[str, tuple[Placement, float]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    states: dict[str, JobState] = field(default_factory=dict)
    again_at: dict[str, float] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    joined: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.inventory, GRACE_S)
        self.first_since: tuple[str, float] | None = None

    def outer(self) -> list[Placement]:
        return [placement for placement, until in self.outside.values() if until > self.now]

    def taken(self) -> list[Placement]:
        return [*self.outer(), *(placement for placement, _ in self.runs.values())]

    def cancel(self, canceled: tuple[Canceled, ...] | list[Canceled]) -> None:
        for each in canceled:
            assert each.task.name not in self.states and each.task.name not in self.runs and each.reason
            self.states[each.task.name] = FAILED if each.error else CANCELED

    def live(self) -> None:
        """Let everything happen, and check at each moment."""
        for _ in range(10_000):
            arrived = [m for m in self.members.values() if m.arrives <= self.now]
            new = [m.task for m in arrived if not self.schedule.knows(m.task.name)]
            for task in new:
                self.joined.append(task.name)
                self.cancel(self.schedule.add([task]))
            self.begin()
            overdue = self.schedule.overdue(self.now)
            assert not any(each.kill for each in overdue), "what was told to end ends at once here"
            for each in overdue:
                self.end(each.task.name, FAILED)
            if overdue:
                continue
            times = [until for _, until in self.runs.values()]
            times += [until for _, until in self.outside.values()]
            times += [float(member.arrives) for member in self.members.values()]
            times += [time for time in (self.schedule.next_time(),) if time is not None]
            later = [time for time in times if time > self.now]
            if self.schedule.next_time() != self.now:  # a pause of no time is over at once
                if not later:
                    return
                self.now = min(later)
            for name in [name for name, (_, until) in self.runs.items() if until <= self.now]:
                failing = self.attempts[name] <= self.members[name].failing
                self.end(name, FAILED if failing else COMPLETED)
        raise AssertionError("it goes on and on")

    def begin(self) -> None:
        self.check_first()
        before = self.taken()
        ready = [task for task in self.schedule.waiting if self.is_ready(task)]
        starts, hopeless = self.schedule.begin(self.now, self.outer())
        self.cancel(hopeless)
        for start in starts:
            self.start(start.task, start.placement)
        self.check_order(ready, [start.task.name for start in starts], before)
        self.first_since = self.first([start.task for start in starts])

    def start(self, task: Task, placement: Placement) -> None:
        assert all(self.states[name] is COMPLETED for name in self.expanded(task.after))
        assert task.group not in self.stopped
        assert self.again_at.get(task.name, 0.0) <= self.now
        self.attempts[task.name] = self.attempts.get(task.name, 0) + 1
        assert self.attempts[task.name] <= task.policy.retries + 1
        self.runs[task.name] = (placement, self.now + self.members[task.name].lasts_s)
        self.check_places()

    def end(self, name: str, state: JobState) -> None:
        if self.runs.pop(name, None) is None:
            return  # the failure of another, at the same time, has stopped it
        task = self.members[name].task
        ended = self.schedule.ended(name, state, self.now)
        if ended.again:
            self.again_at[name] = self.now + task.policy.pause_after(self.attempts[name])
            return
        self.states[name] = state
        if state is FAILED and not task.policy.tolerant:
            self.stopped.add(task.group)
        self.cancel(ended.canceled)
        for other in ended.stopped:
            self.end(other.name, CANCELED)

    def is_ready(self, task: Task) -> bool:
        done = all(self.states.get(name) is COMPLETED for name in self.expanded(task.after))
        return done and self.again_at.get(task.name, 0.0) <= self.now

    def expanded(self, names: tuple[str, ...]) -> list[str]:
        return [name for name, m in self.members.items() if name in names or m.task.group in names]

    def fits(self, task: Task, taken: list[Placement]) -> bool:
        try:
            place(task.name, task.resources, self.inventory, taken, share=task.share)
        except PlacementError:
            return False
        return True

    def rank(self, task: Task) -> tuple[int, int]:
        return (-task.policy.priority, self.joined.index(task.name))

    def first(self, started: list[Task]) -> tuple[str, float] | None:
        """Who is first in line, and since when; only while nobody outside could be in its way."""
        waiting = [task for task in self.schedule.waiting if self.is_ready(task)]
        if not waiting or self.outer():
            return None
        first, since = min(waiting, key=self.rank), self.first_since
        before = any(self.rank(task) < self.rank(first) for task in started)
        same = since is not None and since[0] == first.name and not before
        return (first.name, since[1] if since is not None and same else self.now)

    def check_first(self) -> None:
        """Nobody behind keeps the first in line waiting: those who ran when it became that have ended."""
        if self.first_since is not None and self.first_since[0] not in self.states:
            assert self.now - self.first_since[1] <= LONGEST_S

    def check_order(self, ready: list[Task], started: list[str], before: list[Placement]) -> None:
        """Who was overtaken by one of lower priority had no room at that time."""
        for task in ready:
            behind = [self.members[name].task for name in started if name != task.name]
            if task.name not in started and task.name not in self.states:
                lower = [each for each in behind if each.policy.priority < task.policy.priority]
                higher = [
                    self.runs[each.name][0] for each in behind if each.policy.priority >= task.policy.priority
                ]
                assert not (lower and self.fits(task, [*before, *higher]))

    def check_places(self) -> None:
        taken = self.taken()
        own = [
            (rank.host, core) for each in taken if each.bound for rank in each.ranks for core in rank.cores
        ]
        assert len(own) == len(set(own))
        gpus = [(rank.host, gpu) for each in taken for rank in each.ranks for gpu in rank.gpus]
        assert len(gpus) == len(set(gpus))
        for name, (placement, _) in self.runs.items():
            assert placement.bound or self.members[name].task.share


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Groups of tasks that come after earlier ones, beside programs that are not in the queue."""
    inventory = draw(st.sampled_from([HOST, TWO_HOSTS]))
    cores = inventory.core_count
    members: dict[str, Member] = {}
    names: list[str] = []
    for group in ("g", "h", "i", "j")[: draw(st.integers(1, 4))]:
        policy = Policy(
            priority=draw(st.integers(0, 2)),
            timeout_s=draw(st.sampled_from([None, None, 4.0])),
            retries=draw(st.integers(0, 2)),
            pause_s=draw(st.sampled_from([0.0, 2.0])),
            on_failure=draw(st.sampled_from(["stop", "continue"])),
        )
        share = draw(st.integers(0, 4)) == 0
        resources = draw(
            st.builds(
                Resources,
                cores=st.integers(1, 4),
                exclusive=st.booleans(),
                gpus=st.sampled_from([0, 0, 0, 1]),
            )
        )
        after = tuple(draw(st.lists(st.sampled_from(names), unique=True, max_size=2))) if names else ()
        first_arrival = draw(st.integers(0, 5))
        size = draw(st.integers(1, 6))
        for number in range(size):
            task = Task(f"{group}_{number}", group, resources, policy, after, share)
            failing = draw(st.sampled_from([0, 0, 0, 0, 1, 5]))
            # A group joins as a whole; what comes after it knows all of it.
            members[task.name] = Member(task, draw(st.integers(1, LONGEST_S)), failing, first_arrival)
        names += [group, f"{group}_0"]
        for name in after:  # nobody comes after what is not there yet
            known = members[name] if name in members else members[f"{name}_0"]
            for number in range(size):
                member = members[f"{group}_{number}"]
                member.arrives = max(member.arrives, known.arrives)
    outside = {}
    for name in draw(st.sampled_from([(), (), ("x",), ("x", "y")])):
        some = Resources(cores=draw(st.integers(1, cores)))
        taken = [placement for placement, _ in outside.values()]
        outside[name] = (place(name, some, inventory, taken), draw(st.integers(1, 20)))
    return World(inventory, members, outside)


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_every_line_drains_and_nothing_overlaps(world: World) -> None:
    """The world checks at each moment: places, priorities, who came after whom, attempts, pauses."""
    world.live()
    assert set(world.states) == set(world.members), "somebody waits for ever"
    assert not world.runs and not world.schedule.waiting and not world.schedule.running
    for name, state in world.states.items():
        member = world.members[name]
        if state is COMPLETED:
            assert world.attempts[name] == member.failing + 1 or member.failing == 0
        elif state is FAILED and name in world.attempts:
            assert (
                world.attempts[name] == member.task.policy.retries + 1 or member.task.group in world.stopped
            )


def task(name: str, cores: int = 1, **facts) -> Task:
    group = facts.pop("group", name)
    policy = Policy(**{key: facts.pop(key) for key in list(facts) if key in Policy.__dataclass_fields__})
    return Task(name, group, Resources(cores=cores), policy, **facts)


def started(schedule: Schedule, now: float = 0.0, outside: tuple[Placement, ...] = ()) -> list[str]:
    return [start.task.name for start in schedule.begin(now, outside)[0]]


def test_a_large_one_is_not_kept_waiting_by_small_ones() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("s0"), task("s1")])
    assert started(schedule) == ["s0", "s1"]
    schedule.add([task("large", cores=4), *(task(f"s{number}") for number in range(2, 9))])
    assert started(schedule) == []
    schedule.ended("s0", COMPLETED, 1.0)
    assert started(schedule) == []
    schedule.ended("s1", COMPLETED, 2.0)
    assert started(schedule) == ["large"]


def test_who_cannot_be_in_the_way_overtakes() -> None:
    schedule = Schedule(TWO_HOSTS, GRACE_S)
    with_gpu = Resources(gpus=1)
    schedule.add([Task("g0", "g", with_gpu), Task("g1", "g", with_gpu), task("s0"), task("s1")])
    assert started(schedule) == ["g0", "s0", "s1"]


def test_a_higher_priority_goes_first_and_equals_by_arrival() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("first", 4), task("second", 4), task("urgent", 4, priority=1)])
    order = []
    for now in range(3):
        (name,) = started(schedule, now)
        order.append(name)
        schedule.ended(name, COMPLETED, now)
    assert order == ["urgent", "first", "second"]


def test_dependents_of_a_failure_are_canceled_one_after_the_other() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("a"), task("b", after=("a",)), task("c", after=("b",)), task("d")])
    assert started(schedule) == ["a", "d"]
    canceled = schedule.ended("a", FAILED, 1.0).canceled
    assert [(each.task.name, each.reason) for each in canceled] == [
        ("b", "'a' has failed, and this was to come after it"),
        ("c", "'b' was canceled, and this was to come after it"),
    ]
    (late,) = schedule.add([task("late", after=("a",))])
    assert "'a' has failed" in late.reason


def test_a_group_is_awaited_as_a_whole_with_those_that_joined_later() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("g_0", group="g")])
    schedule.add([task("post", after=("g",))])
    assert started(schedule) == ["g_0"]
    schedule.add([task("g_1", group="g")])
    schedule.ended("g_0", COMPLETED, 1.0)
    assert started(schedule) == ["g_1"]
    schedule.ended("g_1", COMPLETED, 2.0)
    assert started(schedule) == ["post"]


@pytest.mark.parametrize(("state", "begins"), [(COMPLETED, ["post"]), (FAILED, []), (CANCELED, [])])
def test_a_program_outside_is_awaited(state: JobState, begins: list[str]) -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.watch("outside")
    schedule.add([task("post", after=("outside",))])
    assert started(schedule) == []
    assert len(schedule.close("outside", state)) == 1 - len(begins)
    assert started(schedule) == begins


def test_a_failure_stops_the_group_or_does_not() -> None:
    for on_failure, others in (("stop", ["g_3"]), ("continue", [])):
        schedule = Schedule(HOST, GRACE_S)
        two = Resources(cores=2)
        policy = Policy(on_failure=on_failure)
        schedule.add([Task(f"g_{number}", "g", two, policy) for number in range(4)])
        assert started(schedule) == ["g_0", "g_1"]
        schedule.ended("g_0", COMPLETED, 1.0)
        assert started(schedule) == ["g_2"]
        ended = schedule.ended("g_1", FAILED, 2.0)
        assert [each.task.name for each in ended.canceled] == others
        assert [each.name for each in ended.stopped] == (["g_2"] if others else [])
        if others:
            assert ended.reason == "'g_1' has failed"
            (late,) = schedule.add([Task("g_4", "g", two, policy)])
            assert late.reason == "'g_1' has failed"


def test_a_retry_waits_for_its_pause_and_holds_no_place() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("a", 4, retries=2, pause_s=10.0), task("b", 4)])
    assert started(schedule) == ["a"]
    assert schedule.ended("a", FAILED, 1.0).again
    assert schedule.next_time() == 11.0
    assert started(schedule, 1.0) == ["b"]
    schedule.ended("b", COMPLETED, 2.0)
    assert started(schedule, 10.9) == []
    assert started(schedule, 11.0) == ["a"]
    assert schedule.ended("a", FAILED, 12.0).again
    assert schedule.next_time() == 32.0
    assert started(schedule, 32.0) == ["a"]
    assert not schedule.ended("a", FAILED, 33.0).again


def test_a_timeout_tells_first_and_kills_then() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("a", timeout_s=5.0), task("b")])
    started(schedule, 1.0)
    assert schedule.next_time() == 6.0 and schedule.overdue(5.9) == []
    assert [(each.task.name, each.kill) for each in schedule.overdue(6.0)] == [("a", False)]
    assert schedule.next_time() == 9.0
    assert [(each.task.name, each.kill) for each in schedule.overdue(9.0)] == [("a", True)]
    assert schedule.next_time() is None
    schedule.stop("b", 10.0)
    assert [(each.task.name, each.kill) for each in schedule.overdue(13.0)] == [("b", True)]


def test_who_can_never_be_placed_is_told_so() -> None:
    schedule = Schedule(HOST, GRACE_S)
    beside = place("database_0", Resources(cores=2), HOST, [])
    schedule.add([task("a", 3), task("b", 3), task("post", after=("a",))])
    outside = place("other", Resources(cores=1), HOST, [beside])
    assert schedule.begin(0.0, [beside, outside], [beside]) == ([], [])
    starts, hopeless = schedule.begin(1.0, [beside], [beside])
    assert starts == [] and [each.task.name for each in hopeless] == ["a", "b"]
    assert isinstance(hopeless[0].error, PlacementError) and "needs 3 core(s)" in hopeless[0].reason


def test_who_waits_can_be_canceled() -> None:
    schedule = Schedule(HOST, GRACE_S)
    schedule.add([task("a", 4), task("b", 4), task("c", after=("b",))])
    started(schedule)
    assert [each.task.name for each in schedule.cancel(["a", "b"], "enough")] == ["b", "c"]
    assert [each.name for each in schedule.running] == ["a"]
