"""Which hosts, cores and GPUs programs get."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Resources
from orchestrator.errors import PlacementError, UsageError
from orchestrator.hosts import Host, Inventory, parse_hosts
from orchestrator.placement import Placement, thread_caps, visible_gpus
from orchestrator.placing import place
from orchestrator.resources import is_called

NAMES = ("heat_0", "heat_1", "trainer", "probe", "database_0", "late")
ONE_CORE = Resources()


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """One to four hosts, whose cores do not begin at 0."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), min_size=1, max_size=4))
    return Inventory(
        tuple(
            Host(f"h{number}", tuple(range(10, 10 + cores)), tuple(range(gpus)), memory_gb=4.0)
            for number, (cores, gpus) in enumerate(sizes)
        )
    )


def databases() -> st.SearchStrategy[Resources]:
    """Return what the database beside a program may ask for."""
    return st.builds(
        Resources, cores=st.integers(1, 2), gpus=st.integers(0, 1), memory_gb=st.sampled_from([0.0, 0.5])
    )


@st.composite
def requests(draw: st.DrawFn) -> Resources:
    """Any Resources that make sense."""
    some = {
        "exclusive": draw(st.booleans()),
        "exclusive_hosts": draw(st.integers(0, 5)) == 0,
        "gpus": draw(st.sampled_from([0, 0, 0, 1])),
        "memory_gb": draw(st.sampled_from([0.0, 0.0, 0.5, 1.5])),
        "near": draw(st.sampled_from([None, None, "heat", "trainer"])),
        "away_from": draw(st.sampled_from([None, None, "probe", "database", "late"])),
        "beside": draw(st.none() | databases()),
    }
    if draw(st.booleans()):
        return Resources(cores=draw(st.integers(1, 4)), **some)
    whole = st.none() | st.integers(1, 3)
    shape = {name: draw(whole) for name in ("ranks", "nodes", "ranks_per_node", "cores_per_rank")}
    try:
        return Resources(**shape, **some)
    except UsageError:
        return Resources(ranks=2, **some)


def placed(inventory: Inventory, asked: list[Resources]) -> list[tuple[Resources, Placement]]:
    """Place one after another those that fit."""
    there: list[tuple[Resources, Placement]] = []
    for name, resources in zip(NAMES, asked, strict=False):
        try:
            taken = [placement for _, placement in there]
            there.append((resources, place(name, resources, inventory, taken)))
        except PlacementError as error:
            assert error.available < error.asked, str(error)
            assert repr(name) in str(error)
    return there


@given(inventories(), st.lists(requests(), max_size=6))
def test_what_everybody_gets_is_there_and_is_what_he_asked_for(
    inventory: Inventory, asked: list[Resources]
) -> None:
    hosts = {host.name: host for host in inventory.hosts}
    for resources, placement in placed(inventory, asked):
        assert len(placement.ranks) == resources.rank_count
        for rank in placement.ranks:
            assert rank.cores and set(rank.cores) <= set(hosts[rank.host].cores)
            assert len(set(rank.gpus)) == resources.gpus and set(rank.gpus) <= set(hosts[rank.host].gpus)
            assert not placement.bound or len(set(rank.cores)) == resources.rank_cores
        if resources.beside is not None:
            assert tuple(place.host for place in placement.beside) == placement.hosts
            for there in placement.beside:
                assert there.cores and set(there.cores) <= set(hosts[there.host].cores)
                assert len(set(there.gpus)) == resources.beside.gpus
                assert not placement.bound or len(set(there.cores)) == resources.beside.cores
        shares = resources.shares()
        if shares is not None:
            each = Counter(rank.host for rank in placement.ranks)
            assert sorted(each.values(), reverse=True) == shares


@given(inventories(), st.lists(requests(), max_size=6))
def test_no_core_is_bound_twice_and_no_device_given_twice(
    inventory: Inventory, asked: list[Resources]
) -> None:
    programs = placed(inventory, asked)
    places = [(p, place) for _, p in programs for place in (*p.ranks, *p.beside)]
    bound = [(place.host, core) for p, place in places if p.bound for core in place.cores]
    assert len(bound) == len(set(bound))
    gpus = [(place.host, gpu) for _, place in places for gpu in place.gpus]
    assert len(gpus) == len(set(gpus))
    for host in inventory.hosts:
        asked_gb = sum(resources.memory_gb for resources, p in programs for _ in p.on(host.name))
        beside = [r.beside for r, p in programs if r.beside is not None and host.name in p.hosts]
        asked_gb += sum(database.memory_gb for database in beside)
        assert asked_gb <= (host.memory_gb or 0)


@given(inventories(), st.lists(requests(), max_size=6))
def test_what_is_exclusive_is_nobody_elses(inventory: Inventory, asked: list[Resources]) -> None:
    programs = placed(inventory, asked)
    for number, (resources, placement) in enumerate(programs):
        others = [other for n, (_, other) in enumerate(programs) if n != number]
        for host in placement.hosts:
            beside = [other for other in others if host in other.hosts]
            assert not (resources.exclusive_hosts and beside)
            if resources.exclusive:
                mine = set(placement.cores_on(host))
                assert not any(mine & set(other.cores_on(host)) for other in beside)


@given(inventories(), st.lists(requests(), max_size=6))
def test_near_and_away_are_kept_also_by_who_comes_later(inventory: Inventory, asked: list[Resources]) -> None:
    programs = placed(inventory, asked)
    for number, (resources, placement) in enumerate(programs):
        for other in (other for n, (_, other) in enumerate(programs) if n != number):
            if resources.away_from and is_called(resources.away_from, other.program):
                assert not set(placement.hosts) & set(other.hosts)
        if resources.near:
            there = {
                h
                for _, other in programs[:number]
                if is_called(resources.near, other.program)
                for h in other.hosts
            }
            assert set(placement.hosts) <= there


@given(inventories(), st.lists(requests(), max_size=6), st.data())
def test_what_ended_leaves_its_place_to_the_next(
    inventory: Inventory, asked: list[Resources], data: st.DataObject
) -> None:
    programs = placed(inventory, asked)
    if not programs:
        return
    number = data.draw(st.integers(0, len(programs) - 1))
    resources, ended = programs[number]
    left = [placement for n, (_, placement) in enumerate(programs) if n != number]
    if resources.near is None and ended.bound:
        assert place("again", replace(resources, away_from=None), inventory, left).bound


@given(st.integers(1, 8), st.lists(st.integers(1, 4), max_size=12))
def test_on_one_host_nobody_is_refused_who_may_share(cores: int, asked: list[int]) -> None:
    inventory = Inventory((Host("here", tuple(range(cores))),))
    taken: list[Placement] = []
    for count in asked:
        taken.append(place("p", Resources(cores=count), inventory, taken))
    assert all(placement.bound or placement.cores == tuple(range(cores)) for placement in taken)


@given(inventories(), st.integers(1, 30), st.integers(1, 4))
def test_ranks_are_bound_exactly_when_there_is_room(inventory: Inventory, ranks: int, each: int) -> None:
    room = sum(len(host.cores) // each for host in inventory.hosts)
    placement = place("p", Resources(ranks=ranks, cores_per_rank=each), inventory, [])
    assert placement.bound is (ranks <= room)


def test_a_program_stays_on_one_host_where_one_holds_it() -> None:
    inventory = parse_hosts("a:2,b:4,c:4")
    assert place("p", Resources(ranks=3), inventory, []).hosts == ("b",)
    assert place("p", Resources(ranks=6), inventory, []).hosts == ("a", "b")
    assert place("p", Resources(ranks=3, nodes=3), inventory, []).hosts == ("a", "b", "c")


def test_who_shares_goes_where_least_is_going_on() -> None:
    inventory = parse_hosts("a:1,b:2")
    taken: list[Placement] = []
    for _ in range(3):
        taken.append(place("p", ONE_CORE, inventory, taken))
    for number in range(6):
        taken.append(place(f"m_{number}", ONE_CORE, inventory, taken))
    assert Counter(host for placement in taken for host in placement.hosts) == {"a": 3, "b": 6}
    spread = place("q", Resources(ranks=6), inventory, [])
    assert not spread.bound and Counter(rank.host for rank in spread.ranks) == {"a": 2, "b": 4}


def refused(
    resources: Resources, hosts: str | Inventory, taken: list[Placement] | None = None
) -> PlacementError:
    """Return the reason why a program called b finds no place."""
    inventory = parse_hosts(hosts) if isinstance(hosts, str) else hosts
    with pytest.raises(PlacementError) as caught:
        place("b", resources, inventory, taken or [])
    return caught.value


def test_too_few_cores_are_refused_with_the_numbers() -> None:
    taken = [place("a", ONE_CORE, parse_hosts("h:2"), [])]
    error = refused(Resources(cores=2, exclusive=True), "h:2", taken)
    assert (error.what, error.asked, error.available) == ("cores", 2, 1)
    assert str(error) == "'b' needs 2 core(s) for itself, and 1 of the 2 of h are free"
    many = refused(Resources(ranks=8, cores_per_rank=2, exclusive=True), "a:2,b:2,c:2,d:2,e:2")
    assert str(many) == "'b' needs 16 core(s) for itself, and 10 of the 10 of a, b, c and 2 more are free"


def test_who_has_cores_for_himself_leaves_none_to_share() -> None:
    taken = [place("a", Resources(cores=2, exclusive=True), parse_hosts("h:2"), [])]
    assert str(refused(ONE_CORE, "h:2", taken)) == "'b' needs 1 core(s), and 0 of the 2 of h are free"


def test_too_few_gpus_and_too_little_memory_are_refused_with_the_numbers() -> None:
    gpus = refused(Resources(ranks=3, gpus=1), "a:4:2")
    assert (gpus.what, gpus.asked, gpus.available) == ("GPUs", 3, 2)
    assert "needs 3 GPU(s), and 2 of the 2 of a are free" in str(gpus)
    small = Inventory((Host("a", (0, 1), memory_gb=3.0),))
    memory = refused(Resources(ranks=2, memory_gb=2), small)
    assert (memory.what, memory.asked, memory.available) == ("memory", 4, 3)
    assert "needs 4 GB of memory, and 3 of the 3 of a are free" in str(memory)


def test_memory_nobody_knows_of_is_not_counted() -> None:
    assert place("p", Resources(memory_gb=1e6), parse_hosts("a:1"), []).bound


def test_enough_in_all_but_not_on_one_host_is_told_by_host() -> None:
    ranks = refused(Resources(ranks=2, cores_per_rank=3, exclusive=True), "a:2,b:4")
    assert (ranks.what, ranks.asked, ranks.available) == ("ranks", 2, 1)
    assert str(ranks) == (
        "'b' needs room for 2 rank(s) of 3 core(s) each, and there are 1; ranks that fit: a 0, b 1"
    )
    hosts = refused(Resources(ranks=4, nodes=4), "a:2,b:8")
    assert (hosts.what, hosts.asked, hosts.available) == ("hosts", 4, 2)
    assert "4 host(s) for 1 + 1 + 1 + 1 rank(s)" in str(hosts)


def test_neighbours_that_leave_no_host_are_named() -> None:
    inventory = parse_hosts("a:2,b:2")
    taken = [place(name, Resources(nodes=1), inventory, []) for name in ("s_0", "s_1")]
    assert "near 'db', and no such program has a place yet; these have: s_0, s_1" in str(
        refused(Resources(near="db"), inventory, taken)
    )
    everywhere = [place("s_0", Resources(nodes=2), inventory, [])]
    away = refused(Resources(away_from="s"), inventory, everywhere)
    assert (away.what, away.asked, away.available) == ("hosts", 1, 0)
    assert "1 host(s) away from 's'" in str(away) and "beside 's_0'" in str(away)
    assert "2 host(s) for itself" in str(
        refused(Resources(nodes=2, exclusive_hosts=True), inventory, everywhere)
    )


def test_thread_caps_and_gpus_name_the_numbers() -> None:
    assert thread_caps(3)["OMP_NUM_THREADS"] == "3"
    assert visible_gpus((1, 2)) == {"CUDA_VISIBLE_DEVICES": "1,2"} and visible_gpus(()) == {}


def test_a_placement_on_several_hosts_has_no_cores_of_one() -> None:
    placement = place("p", Resources(nodes=2), parse_hosts("a:1,b:1"), [])
    with pytest.raises(ValueError, match="2 hosts"):
        _ = placement.cores


def with_database(ranks: int = 1, **beside: float) -> Resources:
    """Return what a program with ranks of one core and a database beside it asks for."""
    return Resources(ranks=ranks, beside=Resources(**beside))  # type: ignore[arg-type]


def test_a_database_beside_a_program_has_the_cores_and_gpus_after_those_of_its_ranks() -> None:
    asked = replace(with_database(4, cores=2, gpus=1), nodes=2, gpus=1)
    placement = place("p", asked, parse_hosts("a:4:3,b:6:4"), [])
    assert [(r.host, r.cores, r.gpus) for r in placement.ranks] == [
        ("a", (0,), (0,)),
        ("a", (1,), (1,)),
        ("b", (0,), (0,)),
        ("b", (1,), (1,)),
    ]
    assert [(d.host, d.cores, d.gpus) for d in placement.beside] == [("a", (2, 3), (2,)), ("b", (2, 3), (2,))]


def test_the_cores_of_a_database_are_nobody_elses_as_long_as_there_are_others() -> None:
    inventory = parse_hosts("a:4")
    first = place("p", with_database(cores=2), inventory, [])
    second = place("q", ONE_CORE, inventory, [first])
    assert second.bound and second.cores == (3,)
    third = place("r", ONE_CORE, inventory, [first, second])
    assert not third.bound  # it shares, as it may
    alone = refused(Resources(exclusive=True), inventory, [first, second])
    assert "needs 1 core(s) for itself, and 0 of the 4 of a are free" in str(alone)
    closed = place("p", replace(with_database(cores=2), exclusive=True), inventory, [])
    assert place("q", Resources(cores=4), inventory, [closed]).cores == (3,)


def test_two_databases_beside_programs_on_one_host_have_cores_of_their_own() -> None:
    inventory = parse_hosts("a:4")
    first = place("p", with_database(cores=1), inventory, [])
    second = place("q", with_database(cores=1), inventory, [first])
    assert (first.cores, first.beside[0].cores) == ((0,), (1,))
    assert (second.cores, second.beside[0].cores) == ((2,), (3,))


def test_where_a_database_finds_no_cores_both_share() -> None:
    placement = place("p", with_database(cores=2), parse_hosts("a:2"), [])
    assert not placement.bound and placement.cores == placement.beside[0].cores == (0, 1)


def test_what_a_database_lacks_is_told_with_the_numbers() -> None:
    cores = refused(replace(with_database(2, cores=3), exclusive=True), "h:4")
    assert (cores.what, cores.asked, cores.available) == ("cores", 5, 4)
    assert str(cores) == (
        "'b' needs 5 core(s) for itself, 3 of them for the database beside it, and 4 of the 4 of h are free"
    )
    gpus = refused(with_database(gpus=2), "h:4:1")
    assert (
        str(gpus) == "'b' needs 2 GPU(s), 2 of them for the database beside it, and 1 of the 1 of h are free"
    )
    small = Inventory((Host("a", (0, 1), memory_gb=3.0),))
    memory = refused(replace(with_database(memory_gb=2.0), memory_gb=2.0), small)
    assert (memory.what, memory.asked, memory.available) == ("memory", 4, 3)
    hosts = refused(replace(with_database(4, cores=2), nodes=2, exclusive=True), "a:3,b:6")
    assert str(hosts) == (
        "'b' needs 2 host(s) for 2 + 2 rank(s) of 1 core(s) each beside a database of 2 core(s) on each host"
        ", and there are 1; ranks that fit: a 1, b 4"
    )


def test_a_database_beside_a_program_says_what_it_needs_and_nothing_else() -> None:
    for wrong in (Resources(ranks=2), Resources(exclusive=True), Resources(near="x"), 3):
        with pytest.raises(UsageError, match="cores, gpus and memory_gb; all else the program says"):
            Resources(beside=wrong)  # type: ignore[arg-type]
