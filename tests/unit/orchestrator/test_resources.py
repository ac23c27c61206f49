"""What a program may ask of the hosts."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import Resources
from orchestrator.errors import UsageError
from orchestrator.resources import is_called


@pytest.mark.parametrize(
    "wrong",
    [
        {"cores": 0},
        {"cores": 1.5},
        {"cores": True},
        {"gpus": -1},
        {"ranks": 0},
        {"nodes": 0},
        {"ranks_per_node": 0},
        {"cores_per_rank": "2"},
        {"memory_gb": -1},
        {"memory_gb": float("nan")},
        {"memory_gb": float("inf")},
        {"memory_gb": "much"},
        {"near": ""},
        {"away_from": 3},
        {"near": "a", "away_from": "a"},
        {"cores": 2, "ranks": 2},
        {"cores": 2, "cores_per_rank": 2},
        {"ranks_per_node": 2},
        {"ranks": 2, "nodes": 3},
        {"ranks": 9, "nodes": 2, "ranks_per_node": 4},
        {"ranks": 4, "nodes": 2, "ranks_per_node": 4},
    ],
)
def test_impossible_resources_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Resources(**wrong)


@pytest.mark.parametrize(
    ("asked", "ranks", "shares"),
    [
        ({}, 1, None),
        ({"cores": 4}, 1, None),
        ({"ranks": 5}, 5, None),
        ({"nodes": 3}, 3, [1, 1, 1]),
        ({"ranks": 5, "nodes": 3}, 5, [2, 2, 1]),
        ({"nodes": 2, "ranks_per_node": 3}, 6, [3, 3]),
        ({"ranks": 5, "nodes": 2, "ranks_per_node": 3}, 5, [3, 2]),
        ({"ranks": 7, "ranks_per_node": 3}, 7, [3, 3, 1]),
        ({"ranks": 2, "ranks_per_node": 3}, 2, [2]),
    ],
)
def test_ranks_and_their_share_of_each_host(asked: dict[str, Any], ranks: int, shares: list[int]) -> None:
    resources = Resources(**asked)
    assert (resources.rank_count, resources.shares()) == (ranks, shares)
    assert resources.mpi is (asked not in ({}, {"cores": 4}))


def test_cores_are_those_of_a_rank() -> None:
    assert Resources(cores=4).rank_cores == 4
    assert Resources(ranks=2, cores_per_rank=3).rank_cores == 3


@pytest.mark.parametrize(
    ("name", "program", "so"),
    [
        ("heat", "heat", True),
        ("heat", "heat_12", True),
        ("database", "database_0", True),
        ("heat", "heat_x", False),
        ("heat", "heater", False),
        ("h.at", "heat", False),
    ],
)
def test_a_name_is_that_of_a_program_or_of_its_ensemble(name: str, program: str, so: bool) -> None:
    assert is_called(name, program) is so
