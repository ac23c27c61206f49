"""The points of a sweep: bad input is named, good input is covered as its strategy says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Ensemble, sweep
from orchestrator.errors import GridError, SweepError

DRAWING = [sweep.uniform, sweep.latin_hypercube, sweep.sobol]
RANGES = {"nu": (0.01, 0.1), "level": (1, 3), "scheme": ["upwind", "weno"]}


@pytest.mark.parametrize("strategy", [sweep.grid, sweep.steps])
@pytest.mark.parametrize("values", [{}, [1], {"a": []}, {"a": "text"}, {"a": 3}, {"b": [1], "a": ()}])
def test_values_that_cannot_be_are_named(strategy: Callable[..., Any], values: Any) -> None:
    with pytest.raises(SweepError, match=r"'a': needs a list|no mapping") as caught:
        strategy(values)
    assert caught.value.parameter in ("a", "values")


def test_steps_of_different_lengths_are_named() -> None:
    with pytest.raises(SweepError, match=r"'c': has 1 value\(s\) and 'a' 2"):
        sweep.steps({"a": [1, 2], "b": [3, 4], "c": [5]})


@pytest.mark.parametrize("strategy", DRAWING)
@pytest.mark.parametrize(
    "wrong",
    [(1.0, 1.0), (2, 1), (1,), (1, 2, 3), [], "ab", 3, None, (0.0, float("inf")), (float("nan"), 1.0),
     ("a", "b"), (True, False)],
)  # fmt: skip
def test_ranges_that_cannot_be_are_named(strategy: Callable[..., Any], wrong: Any) -> None:
    with pytest.raises(SweepError, match=r"'nu': .* is no range") as caught:
        strategy({"a": (0.0, 1.0), "nu": wrong}, 4, seed=1)
    assert caught.value.parameter == "nu"


@pytest.mark.parametrize("strategy", DRAWING)
@pytest.mark.parametrize(("count", "seed", "named"), [(0, 1, "count"), (2.0, 1, "count"), (4, None, "seed")])
def test_counts_and_seeds_that_cannot_be_are_named(
    strategy: Callable[..., Any], count: Any, seed: Any, named: str
) -> None:
    with pytest.raises(SweepError, match=rf"'{named}': .* must be a whole number"):
        strategy(RANGES, count, seed=seed)
    with pytest.raises(SweepError, match=r"no mapping"):
        strategy({}, 4, seed=1)


def test_sobol_wants_a_power_of_two() -> None:
    with pytest.raises(SweepError, match=r"6 is no power of two.*: 4 or 8"):
        sweep.sobol(RANGES, 6, seed=1)


@pytest.mark.parametrize("strategy", [sweep.latin_hypercube, sweep.sobol])
def test_a_missing_scipy_is_named(strategy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats.qmc", None)
    with pytest.raises(SweepError, match=r"needs the package scipy: pip install scipy") as caught:
        strategy(RANGES, 4, seed=1)
    assert caught.value.package == "scipy"


def test_an_ensemble_says_whose_grid_is_wrong() -> None:
    with pytest.raises(GridError, match="ensemble 'heat': 'a': needs a list") as caught:
        Ensemble("heat", ["sim", "{a}"], grid={"a": []})
    assert caught.value.parameter == "a"


def test_grid_and_steps() -> None:
    values = {"a": [1, 2], "b": ["x", "y"]}
    assert sweep.steps(values) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert [(point["a"], point["b"]) for point in sweep.grid(values)] == [
        (1, "x"),
        (1, "y"),
        (2, "x"),
        (2, "y"),
    ]


@pytest.mark.parametrize("strategy", DRAWING)
def test_the_same_seed_gives_the_same_points(strategy: Callable[..., Any]) -> None:
    points = strategy(RANGES, 16, seed=3)
    assert points == strategy(RANGES, 16, seed=3) != strategy(RANGES, 16, seed=4)
    assert [type(value) for value in points[0].values()] == [float, int, str]


@given(st.sampled_from(DRAWING), st.sampled_from([1, 2, 8]), st.integers(0, 1000))
def test_points_lie_in_their_ranges(strategy: Callable[..., Any], count: int, seed: int) -> None:
    points = strategy(RANGES, count, seed=seed)
    assert len(points) == count
    for point in points:
        assert (
            0.01 <= point["nu"] <= 0.1 and point["level"] in (1, 2, 3) and point["scheme"] in RANGES["scheme"]
        )


@pytest.mark.parametrize("strategy", [sweep.latin_hypercube, sweep.sobol])
def test_every_part_of_a_range_is_visited_once(strategy: Callable[..., Any]) -> None:
    points = strategy({"a": (0.0, 16.0), "b": (1, 16)}, 16, seed=5)
    assert sorted(int(point["a"]) for point in points) == list(range(16))
    assert sorted(point["b"] for point in points) == list(range(1, 17))
