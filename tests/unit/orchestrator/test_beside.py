"""A program is told where the databases beside it are to be."""

from __future__ import annotations

import os

import pytest

from orchestrator import Resources
from orchestrator.beside import beside_environment, place_here
from orchestrator.errors import PlacementError
from orchestrator.hosts import Host, Inventory, parse_hosts
from orchestrator.placement import RankPlacement
from orchestrator.placing import place

ASKED = Resources(nodes=2, beside=Resources(cores=2, gpus=1))


def test_each_host_finds_its_own_place_by_its_name() -> None:
    hosts = Inventory((Host("a", (0, 1, 2), (0,)), Host("b", (4, 5, 6), (3,))))
    told = beside_environment(place("p", ASKED, hosts, []))
    assert place_here(told, "b") == RankPlacement("b", (5, 6), (3,))
    assert place_here(told, "a") == RankPlacement("a", (1, 2), (0,))


def test_the_name_a_scheduler_has_for_a_host_goes_before_its_own() -> None:
    hosts = Inventory((Host(os.uname().nodename, (0, 1, 2), (0,)), Host("n2", (4, 5, 6), (3,))))
    told = beside_environment(place("p", ASKED, hosts, []))
    found = place_here(told, "n2")
    assert found is not None and found.cores == (5, 6)
    here = place_here(told, "unknown")
    assert here is not None and here.cores == (1, 2)


def test_a_host_of_another_name_is_told_only_what_is_the_same_on_all() -> None:
    same = beside_environment(place("p", ASKED, parse_hosts("a:4:1,b:4:1"), []))
    found = place_here(same, "10.0.0.7")
    assert found is not None and found.cores == (1, 2)
    differ = Inventory((Host("a", (0, 1, 2), (0,)), Host("b", (4, 5, 6), (3,))))
    told = beside_environment(place("p", ASKED, differ, []))
    with pytest.raises(PlacementError, match=r"a place on a, b, and this host, '10.0.0.7', is none of them"):
        place_here(told, "10.0.0.7")


def test_where_nothing_was_placed_nothing_is_told() -> None:
    assert beside_environment(place("p", Resources(), parse_hosts("a:1"), [])) == {}
    assert place_here({}, "a") is None
