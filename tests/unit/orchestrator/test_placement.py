"""Which cores and GPUs a program gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Resources
from orchestrator.errors import PlacementError
from orchestrator.placement import Inventory, place, thread_caps

REQUESTS = st.lists(st.builds(Resources, cores=st.integers(1, 4), exclusive=st.booleans()), max_size=12)


@given(st.integers(1, 8), REQUESTS)
def test_programs_get_cores_of_the_host_and_exclusive_ones_are_nobody_elses(
    cores: int, requests: list[Resources]
) -> None:
    host = Inventory(tuple(range(10, 10 + cores)))
    taken = []
    for resources in requests:
        try:
            taken.append(place("p", resources, host, taken))
        except PlacementError as error:
            assert error.asked == resources.cores
    for placement in taken:
        assert placement.cores and set(placement.cores) <= set(host.cores)
        others = [other for other in taken if other is not placement]
        if placement.exclusive:
            assert not any(set(placement.cores) & set(other.cores) for other in others)


@given(st.integers(1, 8), st.lists(st.integers(1, 4), max_size=12))
def test_without_exclusive_nobody_is_refused_and_bound_cores_are_bound_once(
    cores: int, asked: list[int]
) -> None:
    host = Inventory(tuple(range(cores)))
    taken = []
    for count in asked:
        taken.append(place("p", Resources(cores=count), host, taken))
    bound = [core for placement in taken if placement.bound for core in placement.cores]
    assert len(bound) == len(set(bound))
    assert all(placement.bound or placement.cores == host.cores for placement in taken)


def test_exclusive_on_a_full_host_is_refused_with_the_numbers() -> None:
    host = Inventory((0, 1))
    taken = [place("a", Resources(), host, [])]
    with pytest.raises(PlacementError, match="'b' needs 2 core") as caught:
        place("b", Resources(cores=2, exclusive=True), host, taken)
    assert (caught.value.asked, caught.value.available) == (2, 1)


def test_gpus_are_never_shared() -> None:
    host = Inventory((0, 1), gpus=(0, 1))
    first = place("a", Resources(gpus=1), host, [])
    second = place("b", Resources(gpus=1), host, [first])
    assert {first.gpus, second.gpus} == {(0,), (1,)}
    with pytest.raises(PlacementError, match="1 GPU"):
        place("c", Resources(gpus=1), host, [first, second])


def test_thread_caps_name_the_cores() -> None:
    assert thread_caps(3)["OMP_NUM_THREADS"] == "3"
