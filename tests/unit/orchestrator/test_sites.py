"""On which hosts the servers of a database are, and what their hosts are asked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster import spread
from orchestrator.database import start_database
from orchestrator.deployment import Orchestrator
from orchestrator.errors import PlacementError, PortError, UsageError
from orchestrator.hosts import Inventory, parse_hosts, this_host
from orchestrator.launchers.base import Job, Launch
from orchestrator.launchers.dry_run import ended_job
from orchestrator.placement import Placement, RankPlacement
from orchestrator.planning import place_shards
from orchestrator.resources import Resources
from orchestrator.run_files import RunFiles
from orchestrator.survey import PROGRAM, Question, Survey, read_answer, survey

ROOT = Path(__file__).parents[3]
OPEN: dict[str, Any] = {"interface": "eth0", "open_port": True, "module": ()}
FOUR = parse_hosts("a:2,b:2,c:2,d:2")


def where(orchestrator: Orchestrator, inventory: Inventory = FOUR, *taken: Placement) -> list[str]:
    places = place_shards(orchestrator, inventory, taken, dry=False)
    return [f"{place.hosts[0]}{place.cores}" for place in places.values()]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"hosts": "abc"}, r"hosts='abc': a list of the names"),
        ({"hosts": ["a", "a"]}, "each once"),
        ({"hosts": ["a", ""]}, "each once"),
        ({"hosts": [1]}, "a list of the names"),
        ({"nodes": 0}, "nodes=0: must be a whole number of at least 1"),
        ({"nodes": True}, "nodes=True"),
        ({"nodes": "3"}, "nodes='3'"),
        ({"nodes": 2, "hosts": ["a", "b"]}, "give one"),
        ({"nodes": 4}, r"4 hosts for 3 server\(s\): some would have none"),
        ({"hosts": ["a", "b", "c", "d"]}, r"4 hosts for 3 server\(s\)"),
        ({"resources": Resources(ranks=2)}, "each server, which is one process"),
    ],
)
def test_hosts_that_cannot_be_right_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Orchestrator(shards=3, **wrong)


@pytest.mark.parametrize("listening", [{}, {"interface": "eth0"}, {"open_port": True}])
def test_other_hosts_need_an_open_interface(listening: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"has its place on a, b, .*interface=\"hostname\", open_port=True"):
        where(Orchestrator(shards=2, nodes=2, **listening))


def test_an_unknown_host_is_refused_with_those_there_are() -> None:
    with pytest.raises(PlacementError, match="on a, z, and the hosts there are: a, b, c, d") as caught:
        where(Orchestrator(shards=3, hosts=["a", "z"], **OPEN))
    assert (caught.value.asked, caught.value.available, caught.value.what) == (2, 1, "hosts")


def test_more_hosts_than_the_launcher_reaches_are_refused() -> None:
    here = Inventory((this_host(),))
    with pytest.raises(PlacementError, match=r"is to be on 2 hosts, .*the launchers slurm"):
        where(Orchestrator(shards=2, nodes=2, **OPEN), here)


def test_what_has_no_room_on_its_host_says_so() -> None:
    with pytest.raises(PlacementError, match=r"'database_0' needs 3 core\(s\) for itself, and 2 .* a are"):
        where(Orchestrator(shards=2, hosts=["a"], resources=Resources(cores=3, exclusive=True), **OPEN))


def test_servers_are_dealt_out_and_overlap_with_nobody() -> None:
    assert where(Orchestrator(shards=3, hosts=["b", "c", "d"], **OPEN)) == ["b(0,)", "c(0,)", "d(0,)"]
    assert where(Orchestrator(shards=4, hosts=["b", "c"], **OPEN)) == ["b(0,)", "c(0,)", "b(1,)", "c(1,)"]
    solver = Placement((RankPlacement("b", (0,)), RankPlacement("c", (0, 1))), "solver")
    assert where(Orchestrator(shards=2, nodes=2, **OPEN), FOUR, solver) == ["a(0,)", "b(1,)"]
    assert where(Orchestrator(hosts=["d"], port=0, **OPEN)) == ["d(0,)"]


def test_on_this_host_nothing_need_be_open() -> None:
    name = this_host().name
    assert len(where(Orchestrator(shards=2, hosts=[name], module=()), Inventory((this_host(),)))) == 2
    assert len(where(Orchestrator(nodes=1, module=()), Inventory((this_host(),)))) == 1


@given(st.integers(2, 12), st.integers(0, 3), st.integers(1, 12))
def test_replicas_are_on_other_hosts_and_hosts_are_alike(shards: int, replicas: int, count: int) -> None:
    hosts = [f"h{number}" for number in range(count)]
    chosen = spread(shards, replicas, hosts)
    assert len(chosen) == shards * (1 + replicas)
    assert chosen[:shards] == [hosts[number % count] for number in range(shards)]
    for shard in range(shards):
        of_shard = chosen[shard::shards]
        assert len(set(of_shard)) == min(count, 1 + replicas)
    loads = [chosen.count(host) for host in hosts]
    assert max(loads) - min(loads) <= 1 + replicas


def test_a_preview_shows_hosts_and_starts_nothing(tmp_path: Path) -> None:
    orchestrator = Orchestrator(shards=3, hosts=["b", "c"], replicas=1, **OPEN)
    places = place_shards(orchestrator, FOUR, (), dry=True)
    launches: list[Launch] = []

    def note(launch: Launch) -> Job:
        launches.append(launch)
        return ended_job(launch)

    files = RunFiles("run", tmp_path, tmp_path / "runtime")
    database = start_database(orchestrator, files, note, places=places, dry=True)
    assert [launch.name for launch in launches] == [f"database_{number}" for number in range(6)]
    assert [launch.placement for launch in launches] == list(places.values())
    assert str(database.address) == "eth0.b:6379,eth0.c:6379,eth0.b:6380"
    assert launches[5].command[1:5] == ("--bind", "eth0.c", "--port", "6381")


def test_a_host_tells_its_address_and_free_ports() -> None:
    told = survey(Question("lo", 3, 0, with_bus=True))
    assert told.address == "127.0.0.1" and len(set(told.ports)) == 3
    assert told.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("with_bus", [False, True])
def test_a_port_that_is_taken_is_told(with_bus: bool) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(PortError) as caught:
            survey(Question("lo", 1, port - 10_000 if with_bus else port, with_bus))
    assert caught.value.port == port


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", PROGRAM, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_program_answers_or_says_why_not() -> None:
    done = ask(json.dumps(Question("lo", 2, 0, with_bus=False)))
    told = read_answer(f"srun: some remark\n{done.stdout}")
    assert told is not None and told.address == "127.0.0.1" and len(told.ports) == 2
    done = ask(json.dumps(Question("ib7", 2, 0, with_bus=False)))
    assert done.returncode == 1 and "no network interface 'ib7'" in done.stderr
    assert read_answer(done.stdout) is None


def test_the_last_answer_counts() -> None:
    answers = [Survey("10.0.0.1", (port,), 1) for port in (1, 2)]
    assert read_answer("\n".join(json.dumps(each._asdict()) for each in answers)) == answers[1]
