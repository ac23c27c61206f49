"""Programs with ranks, by MPICH and by Open MPI: on this host, and on others through a stand-in for ssh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import (
    Application,
    Experiment,
    Host,
    Inventory,
    Job,
    JobState,
    LaunchOptions,
    Orchestrator,
    Resources,
    colocate,
)
from orchestrator.errors import JobFailed, MpiError, PlacementError, UsageError
from orchestrator.record import all_runs
from orchestrator.run_files import read_record
from tests.integration.orchestrator.bound import cores_of_threads, servers_in
from tests.integration.orchestrator.launchers import MPIEXECS, options_for

SOURCE = Path(__file__).with_name("ranks.c")
HERE = os.uname().nodename
CORES = sorted(os.sched_getaffinity(0))
TELL = (
    'echo "rank ${PMI_RANK:-$OMPI_COMM_WORLD_RANK} host ${STAND_IN:-here} '
    'X $X gpu ${CUDA_VISIBLE_DEVICES:-none} cores $(taskset -cp $$ | sed "s/.*: //") in $(basename $(pwd))"'
)
SSH = """#!/bin/sh
# stands in for ssh: drops its options, and runs the rest here with as little of the environment as ssh would;
# each host has its own temporary files, in which Open MPI's daemons would get in each other's way
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
mkdir -p "TEMPORARY/$host"
exec env -i PATH="$PATH" HOME="$HOME" TMPDIR="TEMPORARY/$host" STAND_IN="$host" sh -c "$*"
"""

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="ranks are told apart by their cores: two are needed")


@pytest.fixture(params=MPIEXECS)
def mpi(request, tmp_path: Path) -> LaunchOptions:
    """The launcher mpi with each mpiexec there is."""
    return options_for(request.param, tmp_path)


@pytest.fixture
def elsewhere(mpi: LaunchOptions, tmp_path: Path) -> Iterator[LaunchOptions]:
    """The same, which reaches two other hosts."""
    ssh = tmp_path / "ssh"
    mpich = ("-launcher", "ssh", "-launcher-exec", str(ssh))
    open_mpi = ("--mca", "plm_rsh_agent", str(ssh))
    extra_args = mpich if mpi.mpiexec == MPIEXECS["mpich"] else open_mpi
    hosts = Inventory((Host("127.0.0.2", tuple(CORES[:2])), Host("127.0.0.3", tuple(CORES[1:2]))))
    with tempfile.TemporaryDirectory(prefix="penstock-") as temporary:  # short: sockets will lie in it
        ssh.write_text(SSH.replace("TEMPORARY", temporary))
        ssh.chmod(0o755)
        yield replace(mpi, hosts=hosts, extra_args=extra_args)


@pytest.fixture
def ranks(mpi: LaunchOptions, tmp_path: Path) -> Path:
    """A real MPI program, compiled by the compiler beside the mpiexec."""
    found = shutil.which(str(mpi.mpiexec)) or ""
    compiler = found.replace("mpiexec", "mpicc")
    if shutil.which(compiler) is None:
        reason = f"there is no {compiler} (Debian: apt install libmpich-dev libopenmpi-dev)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    program = tmp_path / "ranks"
    subprocess.run([compiler, "-Wall", "-Werror", "-o", program, SOURCE], check=True)
    return program


def tell(resources: Resources, name: str = "tell", then: str = "exit") -> Application:
    """A program that tells its place."""
    return Application(name, ["sh", "-c", f"{TELL}; {then}"], resources=resources, environment={"X": "it's"})


def told(job: Job) -> list[str]:
    """What the ranks have told; Open MPI warns of this and that beside it."""
    return sorted(line for line in job.log.read_text().splitlines() if line.startswith("rank "))


def test_ranks_are_one_world_and_each_has_its_core(mpi: LaunchOptions, ranks: Path) -> None:
    with Experiment("e", mpi) as exp:
        job = exp.start(Application("solver", [ranks], resources=Resources(ranks=2)))
        exp.wait(job, timeout_s=60)
    assert told(job) == [f"rank {rank} of 2, sum 1, cores {CORES[rank]}" for rank in (0, 1)]
    (entry,) = read_record(exp.run_dir)["jobs"]
    assert [rank["cores"] for rank in entry["ranks"]] == [[CORES[0]], [CORES[1]]]


def test_more_ranks_than_cores_share_them(mpi: LaunchOptions, ranks: Path) -> None:
    count = len(CORES) + 1
    with Experiment("e", mpi) as exp:
        job = exp.start(Application("solver", [ranks], resources=Resources(ranks=count)))
        exp.wait(job, timeout_s=60)
    lines = told(job)
    assert len(lines) == count and not job.placement.bound
    assert all(line.endswith(f"cores {' '.join(map(str, CORES))}") for line in lines)


def test_a_rank_that_aborts_fails_the_program(mpi: LaunchOptions, ranks: Path) -> None:
    with pytest.raises(JobFailed, match="ended with exit code 5"), Experiment("e", mpi) as exp:
        exp.wait(
            exp.start(Application("solver", [ranks, "abort"], resources=Resources(ranks=2))), timeout_s=60
        )


def test_each_rank_has_its_own_gpu(mpi: LaunchOptions) -> None:
    hosts = Inventory((Host(HERE, tuple(CORES), gpus=(0, 1)),))
    with Experiment("e", replace(mpi, hosts=hosts)) as exp:
        job = exp.start(tell(Resources(ranks=2, gpus=1)))
        exp.wait(job, timeout_s=60)
    lines = told(job)
    assert [line.split(" X ")[1] for line in lines] == [
        f"it's gpu {rank} cores {CORES[rank]} in tell" for rank in (0, 1)
    ]


def test_ranks_on_several_hosts_find_their_place_there(elsewhere: LaunchOptions) -> None:
    with Experiment("e", elsewhere) as exp:
        job = exp.start(tell(Resources(ranks=3)))
        exp.wait(job, timeout_s=60)
    assert job.placement.hosts == ("127.0.0.2", "127.0.0.3")
    assert told(job) == [
        f"rank 0 host 127.0.0.2 X it's gpu none cores {CORES[0]} in tell",
        f"rank 1 host 127.0.0.2 X it's gpu none cores {CORES[1]} in tell",
        f"rank 2 host 127.0.0.3 X it's gpu none cores {CORES[1]} in tell",
    ]


def test_a_program_without_mpi_is_carried_to_its_host_and_is_plain_on_this_one(
    elsewhere: LaunchOptions,
) -> None:
    hosts = Inventory((Host(HERE, tuple(CORES[:1])), *(elsewhere.hosts or Inventory(())).hosts))
    with Experiment("e", replace(elsewhere, hosts=hosts)) as exp:
        here = exp.start(tell(Resources(exclusive=True), "here", then="exec sleep 1000"))
        there = exp.start(tell(Resources(exclusive=True, away_from="here"), "there"))
        exp.wait(there, timeout_s=60)
    said = " ".join(here.log.read_text().split())  # a plain process has no rank
    assert said == f"rank host here X it's gpu none cores {CORES[0]} in here"
    assert told(there) == [f"rank 0 host 127.0.0.2 X it's gpu none cores {CORES[0]} in there"]


def test_hosts_from_which_the_database_cannot_be_reached_are_refused(elsewhere: LaunchOptions) -> None:
    with Experiment("e", elsewhere) as exp:
        db = exp.start(Orchestrator(module=()))
        with pytest.raises(PlacementError, match=r"on 127\.0\.0\.2, from .* This host has: "):
            exp.start(tell(Resources(ranks=2)), database=db)
        assert exp.preview(tell(Resources(ranks=2))).notes == ()
        shown = exp.preview(tell(Resources(ranks=2)), database=db)
        assert "cannot run: 'tell' has its place on 127.0.0.2" in str(shown) and shown.as_json()["notes"]


def test_a_database_on_another_host_is_refused(elsewhere: LaunchOptions) -> None:
    refused = pytest.raises(PlacementError, match="runs on this host")
    with Experiment("e", elsewhere) as exp, refused:
        exp.start(Orchestrator(module=(), resources=Resources()))


def test_an_unknown_host_is_refused_before_mpiexec_waits_for_it(mpi: LaunchOptions) -> None:
    hosts = Inventory((Host("no-such-host.invalid", (0,)),))
    with (
        Experiment("e", replace(mpi, hosts=hosts)) as exp,
        pytest.raises(PlacementError, match="this host does not know it"),
    ):
        exp.start(tell(Resources(ranks=1)))


def test_a_database_and_its_trainer_run_beside_ranks(mpi: LaunchOptions) -> None:
    with Experiment("e", mpi) as exp:
        db = exp.start(Orchestrator(module=()))
        trainer = exp.start(
            Application("trainer", ["sh", "-c", "echo rank=$PMI_RANK$PMIX_RANK"]), database=db
        )
        said = 'test "$SSDB" && echo "$PENSTOCK_NAME"'
        solver = exp.start(
            Application("solver", ["sh", "-c", said], resources=Resources(ranks=2)), database=db
        )
        exp.wait(timeout_s=60)
    assert trainer.log.read_text() == "rank=\n"
    assert solver.log.read_text() == "solver\nsolver\n"


def test_stopping_ends_all_ranks(mpi: LaunchOptions) -> None:
    """At once: MPICH's mpiexec loses a SIGTERM that comes before its ranks are there."""
    with Experiment("e", mpi, grace_s=0.5) as exp:
        job = exp.start(Application("solver", ["sleep", "1000"], resources=Resources(ranks=2)))
    assert job.state is JobState.CANCELED


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_driver_that_is_ended(mpi: LaunchOptions, driver, gone, number: int) -> None:
    script = driver(
        f"""
        import time
        with Experiment("e", LaunchOptions("mpi", mpiexec={str(mpi.mpiexec)!r})) as exp:
            tell = "echo $$; exec sleep 1000"
            job = exp.start(Application("solver", ["sh", "-c", tell], resources=Resources(ranks=2)))
            deadline = time.monotonic() + 60
            while len(pids := job.log.read_text().split()) < 2:
                assert time.monotonic() < deadline and not job.wait_ended(0.01)
            print(job.pid, *pids, flush=True)
            exp.wait()
        """
    )
    pids = script.numbers()
    script.signal(signal.Signals(number))
    code, _ = script.end()
    assert code != 0 and len(pids) == 3
    gone(*pids)


def test_a_preview_names_the_mpiexec_and_shows_its_command(
    mpi: LaunchOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = Inventory((Host("a", (0, 1)), Host("b", (0, 1))))
    with Experiment("e", replace(mpi, hosts=hosts, preview=True)) as exp:
        exp.start(tell(Resources(ranks=4)))
    said = capsys.readouterr().out
    assert "by the launcher mpi (" in said and "A  tell  a 0 1, b 0 1  4 ranks" in said
    assert f"{shutil.which(str(mpi.mpiexec))}" in said and "a:2,b:2" in said
    assert not exp.run_dir.exists()


def test_options_of_mpi_are_no_other_launchers(tmp_path: Path) -> None:
    for options in ({"mpiexec": "mpiexec"}, {"extra_args": ("-v",)}):
        with pytest.raises(UsageError, match="the launcher 'local' has none"):
            Experiment("e", LaunchOptions(**options))
    with (
        pytest.raises(MpiError, match="no /nowhere/mpiexec"),
        Experiment("e", LaunchOptions("mpi", mpiexec="/nowhere/mpiexec")),
    ):
        pass
    assert (
        not (tmp_path / "runs").exists() and all_runs() == []
    )  # a refused run is none that could be resumed


def test_ranks_share_one_database_on_their_host_and_are_one_world(
    mpi: LaunchOptions, ranks: Path, gone: Callable[..., None]
) -> None:
    text = f'echo "at $SSDB"; redis-cli -s "${{SSDB#unix://}}" INCR ranks; exec {ranks}'
    if shutil.which("redis-cli") is None:
        pytest.skip("there is no redis-cli (Debian: apt install redis-tools)")
    app = Application("solver", ["sh", "-c", text], resources=Resources(ranks=2))
    with Experiment("e", mpi) as exp:
        job = exp.start(colocate(app, module=()))
        exp.wait(job, timeout_s=60)
        lines = job.log.read_text().splitlines()
        assert [line.partition(", cores")[0] for line in told(job)] == [
            f"rank {rank} of 2, sum 1" for rank in (0, 1)
        ]
        at = [line for line in lines if line.startswith("at unix://")]
        assert len(at) == 2 and len(set(at)) == 1
        assert sorted(line for line in lines if line.isdigit()) == ["1", "2"]
        assert len(list(job.directory.glob("c[0-9]*"))) == 1


def test_the_database_beside_a_rank_is_bound_to_cores_of_its_own(mpi: LaunchOptions, ranks: Path) -> None:
    app = Application("solver", ["sh", "-c", f"{ranks} && exec sleep 1000"], resources=Resources(ranks=1))
    with Experiment("e", mpi) as exp:
        job = exp.start(colocate(app))
        exp.colocated(job)
        (server,) = servers_in(job.directory)
        assert cores_of_threads(server) == {str(CORES[1])}
        while not told(job):
            assert not job.wait_ended(0.01)
        assert told(job) == [f"rank 0 of 1, sum 0, cores {CORES[0]}"]
        job.stop()


def test_a_rank_that_fails_beside_its_database_fails_the_program(mpi: LaunchOptions, ranks: Path) -> None:
    app = Application("solver", [ranks, "abort"], resources=Resources(ranks=2))
    with pytest.raises(JobFailed), Experiment("e", mpi) as exp:
        exp.wait(exp.start(colocate(app, module=())), timeout_s=60)
