"""The members of an Ensemble and their command lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Ensemble
from orchestrator.errors import GridError


def test_full_grid_with_the_last_parameter_fastest() -> None:
    ensemble = Ensemble("heat", ["sim", "--a={a}", "--b={b}"], grid={"a": [1, 2], "b": ["x", "y"]})
    assert [member.command for member in ensemble.members()] == [
        ("sim", "--a=1", "--b=x"),
        ("sim", "--a=1", "--b=y"),
        ("sim", "--a=2", "--b=x"),
        ("sim", "--a=2", "--b=y"),
    ]
    assert [member.name for member in ensemble.members()] == ["heat_0", "heat_1", "heat_2", "heat_3"]


def test_parameter_no_command_line_uses_is_named() -> None:
    with pytest.raises(GridError, match=r"no command line uses the grid parameter \{beta\}") as caught:
        Ensemble("heat", ["sim", "{alpha}"], grid={"alpha": [1], "beta": [2]})
    assert caught.value.parameter == "beta"


def test_placeholder_without_values_is_named() -> None:
    with pytest.raises(GridError, match=r"\{alhpa\}") as caught:
        Ensemble("heat", ["sim", "{alhpa}", "{alpha}"], grid={"alpha": [1]})
    assert caught.value.parameter == "alhpa"


@pytest.mark.parametrize("grid", [{"a": []}, {"a": "text"}, {"a": 3}, {"replica": [1]}, {"a b": [1]}])
def test_grids_that_cannot_be_are_refused(grid: dict[str, list[Any]]) -> None:
    with pytest.raises(GridError):
        Ensemble("heat", ["sim", "{a}"], grid=grid)


def test_no_replicas_are_refused() -> None:
    with pytest.raises(GridError, match="replicas=0"):
        Ensemble("heat", ["sim"], replicas=0)


def test_replicas_are_numbered() -> None:
    members = Ensemble("heat", ["sim", "--seed={replica}"], replicas=2).members()
    assert [member.command for member in members] == [("sim", "--seed=0"), ("sim", "--seed=1")]


def test_paths_and_environment_are_filled_and_other_braces_stay() -> None:
    ensemble = Ensemble(
        "heat", [Path("in_{a}.nc"), '{"json": 1}', "{}"], grid={"a": [7]}, environment={"A": "<{a}>"}
    )
    (member,) = ensemble.members()
    assert member.command == (Path("in_7.nc"), '{"json": 1}', "{}")
    assert member.environment == {"A": "<7>"}


def test_values_may_be_a_list_of_points_or_a_function() -> None:
    points = [{"a": 1, "b": "x"}, {"b": "y", "a": 2.5}]
    for given_as in (points, lambda: points, lambda: iter(points), tuple(points)):
        members = Ensemble("heat", ["sim", "{a}", "{b}"], points=given_as).members()
        assert [member.command for member in members] == [("sim", "1", "x"), ("sim", "2.5", "y")]
        assert members[1].parameters == {"a": 2.5, "b": "y", "replica": 0}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "there is no point"),
        ("ab", "a list of points"),
        ({"a": 1}, "a list of points"),
        (3, "a list of points"),
        (lambda: None, "a list of points"),
        ([1], "point 0, 1, is no mapping"),
        ([{"a": 1}, {}], r"the point \{\} has no 'a'"),
        ([{"a": 1}, {"a": 1, "b": 2}], "no parameter 'b'; there is: a"),
        ([{"a": [1]}], r"a=\[1\] is neither text nor a number"),
        ([{"a": None}], "a=None is neither"),
        ([{"replica": 1}], "'replica' cannot be the name"),
        ([{1: 1}], "1 cannot be the name"),
        ([{"a": 1, "b": 1}], r"no command line uses the parameter \{b\}"),
    ],
)
def test_points_that_cannot_be_are_named(points: Any, said: str) -> None:
    with pytest.raises(GridError, match=said):
        Ensemble("heat", ["sim", "{a}"], points=points)


def test_a_copy_with_another_name_has_the_same_points() -> None:
    for ensemble in (
        Ensemble("heat", ["sim", "{a}"], grid={"a": [1, 2]}),
        Ensemble("heat", ["sim", "{a}"], points=lambda: [{"a": 1}, {"a": 2}]),
    ):
        copy = replace(ensemble, name="cold")
        assert [member.name for member in copy.members()] == ["cold_0", "cold_1"]


def test_grid_and_points_are_not_given_both() -> None:
    with pytest.raises(GridError, match="not both"):
        Ensemble("heat", ["sim", "{a}"], grid={"a": [1]}, points=[{"a": 1}])


def test_a_further_member_is_checked_like_the_first() -> None:
    ensemble = Ensemble("heat", ["sim", "{a}"], grid={"a": [1]})
    assert ensemble.further(7, {"a": 2}).command == ("sim", "2")
    assert ensemble.further(7, {"a": 2}).name == "heat_7"
    for wrong in ({}, {"a": 1, "b": 2}, {"a": None}):
        with pytest.raises(GridError):
            ensemble.further(7, wrong)  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=4), min_size=1))
def test_every_point_of_the_grid_is_there_once(grid: dict[str, list[Any]]) -> None:
    command = ["sim", *(f"{{{name}}}" for name in grid)]
    unique = {name: sorted(set(values)) for name, values in grid.items()}
    commands = [member.command for member in Ensemble("e", command, grid=unique).members()]
    expected = 1
    for values in unique.values():
        expected *= len(values)
    assert len(set(commands)) == len(commands) == expected


def test_lines_and_prefix_of_members_have_their_parameters() -> None:
    ensemble = Ensemble("m", ["sim"], grid={"n": [1, 2]}, pre=["export N={n}"], prefix=["env", "M={n}"])
    first, second = ensemble.members()
    assert (first.pre, first.prefix) == (("export N=1",), ("env", "M=1"))
    assert (second.pre, second.prefix) == (("export N=2",), ("env", "M=2"))
    with pytest.raises(GridError, match=r"\{x\}"):
        Ensemble("m", ["sim"], pre=["export N={x}"])
