"""The rules of measuring: ratios to a reference, drifted rounds dropped, intervals by bootstrap."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.bench.measure import Series, bootstrap_interval, compare, cpu_s, pinned


def told(name: str, seconds: Iterator[float]) -> Series:
    """A series whose time is told instead of taken."""
    return Series(name, lambda: next(seconds), self_timed=True)


def cycle(*values: float) -> Iterator[float]:
    while True:
        yield from values


def test_a_ratio_is_taken_to_the_reference_of_its_own_round() -> None:
    report = compare(told("raw", cycle(1.0, 1.0, 2.0, 2.0)), [told("ours", cycle(3.0, 6.0))], rounds=4)
    raw, ours = report["series"]
    assert report["rounds"] == 4
    assert (raw["ratio"], ours["ratio"]) == (1.0, 3.0)


def test_a_round_in_which_the_machine_drifted_is_dropped_and_counted() -> None:
    report = compare(told("raw", cycle(1.0, 1.5, 1.0, 1.0)), [told("ours", cycle(2.0))], rounds=2)
    assert (report["rounds"], report["dropped"]) == (2, 2)


def test_a_machine_that_never_rests_ends_the_measurement() -> None:
    report = compare(told("raw", cycle(1.0, 2.0)), [told("ours", cycle(2.0))], rounds=2)
    assert (report["rounds"], report["dropped"]) == (0, 6)


def test_the_order_of_the_series_rotates() -> None:
    seen: list[str] = []

    def note(name: str) -> Series:
        def operation() -> float:
            seen.append(name)
            return 1.0

        return Series(name, operation, self_timed=True)

    compare(told("raw", cycle(1.0)), [note("a"), note("b")], rounds=2)
    assert seen == ["a", "b", "b", "a"]


def test_the_interval_holds_the_median_and_narrows() -> None:
    low, high = bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert low <= 3.0 <= high
    assert bootstrap_interval([2.0] * 9) == (2.0, 2.0)


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with pinned(core, core, []):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


def test_cpu_time_grows_with_work() -> None:
    before = cpu_s(os.getpid())
    sum(i * i for i in range(200_000))
    assert cpu_s(os.getpid()) > before
