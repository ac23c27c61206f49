"""Hosts, given as text or found."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UsageError
from orchestrator.hosts import Host, Inventory, numbers_text, parse_hosts, this_host


@pytest.mark.parametrize(
    "wrong",
    ["", "a", "a:", "a:0", "a:x", "a:8,", "a:8,a:4", "a b:8", "-a:8", "a:8:1:1", ":8", "a:-1", "a;b:8"],
)
def test_hosts_that_cannot_be_read_are_named(wrong: str) -> None:
    with pytest.raises(UsageError, match="host"):
        parse_hosts(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cores": ()},
        {"cores": (0, 0)},
        {"cores": (-1,)},
        {"cores": (0.5,)},
        {"cores": (0,), "gpus": (1, 1)},
        {"cores": (0,), "memory_gb": 0},
        {"cores": (0,), "name": "a/b"},
    ],
)
def test_impossible_hosts_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Host(**{"name": "a", **wrong})


def test_an_inventory_has_a_host() -> None:
    with pytest.raises(UsageError, match="at least one"):
        Inventory(())


def test_hosts_are_read() -> None:
    read = parse_hosts("node-1.site:2, b:1:2")
    assert read.hosts == (Host("node-1.site", (0, 1)), Host("b", (0,), (0, 1)))
    assert read.core_count == 3


def test_this_host_has_the_cores_of_this_process() -> None:
    host = this_host()
    assert set(host.cores) == os.sched_getaffinity(0)
    assert host.name == os.uname().nodename and host.memory_gb is not None and host.memory_gb > 0


@given(st.sets(st.integers(0, 40)))
def test_ranges_name_the_same_numbers(numbers: set[int]) -> None:
    read: set[int] = set()
    for part in filter(None, numbers_text(numbers).split(",")):
        first, _, last = part.partition("-")
        read.update(range(int(first), int(last or first) + 1))
    assert read == numbers


def test_ranges_are_short() -> None:
    assert numbers_text([3, 0, 1, 2, 6]) == "0-3,6"
