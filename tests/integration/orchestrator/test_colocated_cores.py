"""The cores of a database beside a program: reserved in the plan, and its processes are bound to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from orchestrator import Application, Experiment, LaunchOptions, Orchestrator, Policy, Resources, colocate
from orchestrator.beside import VARIABLE
from orchestrator.errors import PlacementError, UsageError
from orchestrator.hosts import Host, Inventory
from orchestrator.run_files import read_record
from tests.integration.orchestrator.bound import cores_of_threads, servers_in

CORES = sorted(os.sched_getaffinity(0))
WAITS = "import os, time; print(sorted(os.sched_getaffinity(0)), flush=True); time.sleep(1000)"

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="a program and its database need a core each")


def waiting(name: str, **asked: object) -> Application:
    return Application(name, [sys.executable, "-c", WAITS], resources=Resources(**asked))  # type: ignore[arg-type]


def test_the_server_and_its_threads_are_bound_to_cores_of_their_own(redis_server: str) -> None:
    with Experiment("e") as exp:
        job = exp.start(colocate(waiting("solver"), redis_server=redis_server))  # with the module's threads
        exp.colocated(job)
        (server,) = servers_in(job.directory)
        assert cores_of_threads(server) == {str(CORES[1])}
        assert len(list(Path(f"/proc/{server}/task").iterdir())) > 1
        while not (said := job.log.read_text().splitlines()[-1:]) or not said[0].endswith("]"):
            assert not job.wait_ended(0.01)
        assert json.loads(said[0]) == CORES[:1]  # the program's own
        placement = job.placement
        assert placement is not None and placement.bound and placement.beside[0].cores == (CORES[1],)
        job.stop()
    (entry,) = [entry for entry in read_record(exp.run_dir)["jobs"] if entry["name"] == "solver"]
    assert entry["beside"] == [{"host": os.uname().nodename, "cores": [CORES[1]], "gpus": []}]


def test_threads_of_the_database_are_as_many_as_its_cores(redis_server: str) -> None:
    program = Application(
        "solver", ["sleep", "1000"], resources=Resources(), environment={"OMP_NUM_THREADS": "7"}
    )
    with Experiment("e") as exp:
        job = exp.start(colocate(program, redis_server=redis_server, module=()))
        exp.colocated(job)
        (server,) = servers_in(job.directory)
        assert psutil.Process(server).environ()["OMP_NUM_THREADS"] == "1"
        job.stop()


def test_a_second_program_on_the_host_shares_where_it_may_and_is_refused_where_not() -> None:
    free = len(CORES) - 2
    with Experiment("e") as exp:
        first = exp.start(colocate(waiting("first"), module=()))
        second = exp.start(colocate(waiting("second", cores=max(1, free)), module=()))
        exp.colocated(first)
        exp.colocated(second)
        assert second.placement is not None and not second.placement.bound
        (server,) = servers_in(second.directory)
        assert cores_of_threads(server) == {_range(CORES)}
        alone = Application("alone", ["true"], resources=Resources(exclusive=True))
        with pytest.raises(PlacementError) as caught:
            exp.start(colocate(alone, module=(), resources=Resources(cores=2)))
        said = "'alone' needs 3 core(s) for itself, 2 of them for the database beside it, and 0 of the"
        assert said in str(caught.value)
        first.stop()
        second.stop()


def _range(cores: list[int]) -> str:
    assert cores == list(range(cores[0], cores[-1] + 1))
    return f"{cores[0]}-{cores[-1]}"


def test_a_preview_shows_the_cores_and_gpus_of_both() -> None:
    shown = []
    hosts = Inventory((Host("a", (0, 1, 2, 3), (0, 1)), Host("b", (4, 5, 6, 7), (0, 1))))
    options = LaunchOptions("slurm", hosts=hosts, preview=True, show=shown.append)
    with Experiment("e", options) as exp:
        two = Resources(nodes=2, gpus=1)
        solver = Application("solver", ["true"], resources=two)
        exp.start(colocate(solver, module=(), resources=Resources(cores=2, gpus=1)))
    assert "solver  a 0/gpu0 database 1-2/gpu1, b 4/gpu0 database 5-6/gpu1" in str(shown[0])
    (program,) = shown[0].as_json()["programs"]
    assert program["beside"] == [
        {"host": "a", "cores": [1, 2], "gpus": [1]},
        {"host": "b", "cores": [5, 6], "gpus": [1]},
    ]
    assert [core["programs"] for core in shown[0].as_json()["hosts"][0]["cores"]] == [["solver"]] * 3 + [[]]


def test_gpus_of_the_database_are_not_those_of_the_program(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Host(os.uname().nodename, tuple(CORES), (0, 1, 2))
    monkeypatch.setattr("orchestrator.launchers.local.this_host", lambda: here)
    program = Application(
        "solver", ["sh", "-c", "echo gpus $CUDA_VISIBLE_DEVICES"], resources=Resources(gpus=1)
    )
    with Experiment("e") as exp:
        with_two = Resources(gpus=2)
        waits = Application("waits", ["sleep", "1000"], resources=Resources(gpus=1))
        with pytest.raises(
            PlacementError, match=r"needs 4 GPU\(s\), 3 of them for the database beside it, and 3"
        ):
            exp.start(colocate(program, module=(), resources=Resources(gpus=3)))
        job = exp.start(colocate(waits, redis_server=redis_server, module=(), resources=with_two))
        exp.colocated(job)
        (server,) = servers_in(job.directory)
        assert psutil.Process(server).environ()["CUDA_VISIBLE_DEVICES"] == "1,2"
        (sleeper,) = [c for c in psutil.Process(job.pid).children() if c.name() == "sleep"]
        assert sleeper.environ()["CUDA_VISIBLE_DEVICES"] == "0"
        job.stop()


def test_a_server_of_a_database_sees_the_gpus_that_it_was_given(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Host(os.uname().nodename, tuple(CORES), (0, 1))
    monkeypatch.setattr("orchestrator.launchers.local.this_host", lambda: here)
    with Experiment("e") as exp:
        two = Orchestrator(shards=2, module=(), redis_server=redis_server, resources=Resources(gpus=1))
        pids = [job.pid for job in exp.start(two).jobs]
        assert [psutil.Process(pid).environ()["CUDA_VISIBLE_DEVICES"] for pid in pids] == ["0", "1"]


def test_one_that_waited_for_its_turn_has_cores_for_its_database_too(redis_server: str) -> None:
    with Experiment("e") as exp:
        first = exp.start(Application("first", ["true"]))
        job = exp.start(
            colocate(waiting("solver"), module=(), redis_server=redis_server), after=first, policy=Policy()
        )
        exp.colocated(job)
        (server,) = servers_in(job.directory)
        assert cores_of_threads(server) == {str(CORES[1])}
        job.stop()


def test_resources_that_say_where_are_the_programs() -> None:
    with pytest.raises(UsageError, match="cores, gpus and memory_gb; all else the program says"):
        colocate(Application("a", ["true"]), resources=Resources(near="trainer"))


def test_a_core_that_this_host_does_not_give_is_named(redis_server: str, tmp_path: Path) -> None:
    """As where a scheduler confines a step to the cores of its ranks."""
    program = colocate(Application("solver", ["true"]), redis_server=redis_server, module=())
    told = [{"host": os.uname().nodename, "cores": [4095], "gpus": []}]
    names = {
        "PENSTOCK_RUN_ID": "test",
        "PENSTOCK_NAME": "solver",
        "PENSTOCK_RUNTIME_DIR": str(tmp_path / "r"),
    }
    environment = {**os.environ, **names, VARIABLE: json.dumps(told)}
    ran = subprocess.run(program.argv(), env=environment, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1 and "core 4095 is none of the" in ran.stderr
