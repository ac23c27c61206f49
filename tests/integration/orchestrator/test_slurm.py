"""Programs as steps of a Slurm allocation, whose hosts are namespaces of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
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
)
from orchestrator.errors import JobFailed, PlacementError, SlurmError, UsageError
from orchestrator.hosts import parse_hosts
from orchestrator.launchers.base import Launch, Launcher
from orchestrator.launchers.table import make_launcher
from orchestrator.placement import Placement, RankPlacement
from orchestrator.record import all_runs
from orchestrator.run_files import read_record
from orchestrator.slurm import find_steps, signal_step
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import Driver
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until

SOURCE = Path(__file__).with_name("ranks.c")
CORES = sorted(os.sched_getaffinity(0))
TELL = 'echo "rank $SLURM_PROCID host $(hostname) cores $(taskset -cp $$ | sed "s/.*: //") in $(pwd)"'
FOREVER = ["sleep", "1000"]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(len(CORES) < 2, reason="ranks are told apart by their cores: two are needed"),
]


@pytest.fixture
def launcher(allocation: SlurmNodes) -> Iterator[Launcher]:
    """The launcher slurm in an allocation of four nodes."""
    launcher = make_launcher(LaunchOptions("slurm"), lambda pid: None)
    yield launcher
    launcher.close()


@pytest.fixture
def start(launcher: Launcher, tmp_path: Path) -> Callable[..., Job]:
    """Start a program on cores of hosts, given as host and cores of each rank."""

    def started(command: list[str], *ranks: tuple[str, tuple[int, ...]], name: str = "job") -> Job:
        placement = Placement(tuple(RankPlacement(host, cores) for host, cores in ranks))
        directory = tmp_path / name
        log = directory / "log.txt"
        return launcher.start(Launch(name, command, directory, log, {}, placement, len(ranks)))

    return started


def test_outside_of_an_allocation_it_says_how_to_get_one(slurm: SlurmNodes) -> None:
    with pytest.raises(UsageError, match=r"get one with salloc, or .* --on slurm"):
        make_launcher(LaunchOptions("slurm"), lambda pid: None)


def test_an_allocation_that_has_ended_is_told(slurm: SlurmNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "99999")
    with pytest.raises(SlurmError, match=r"99999` was refused: .*Invalid job id"):
        make_launcher(LaunchOptions("slurm"), lambda pid: None)


def test_an_allocation_without_srun_is_told(
    allocation: SlurmNodes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as changed, pytest.raises(SlurmError, match="no srun on PATH"):
        changed.setenv("PATH", str(tmp_path))
        make_launcher(LaunchOptions("slurm"), lambda pid: None)


def test_arguments_that_penstock_gives_itself_are_refused(allocation: SlurmNodes) -> None:
    with pytest.raises(UsageError, match="--nodes=3 is given by Penstock"):
        make_launcher(LaunchOptions("slurm", extra_args=("--nodes=3",)), lambda pid: None)


def test_the_inventory_is_that_of_the_allocation(launcher: Launcher, allocation: SlurmNodes) -> None:
    *plain, last = allocation.names
    hosts = [Host(name, (0, 1)) for name in plain]
    assert launcher.inventory() == Inventory((*hosts, Host(last, (0, 1), (0, 1))))


def test_a_part_of_a_node_has_the_cores_of_the_job(
    slurm: SlurmNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs share a node: the second has its other core."""
    share = ["salloc", "--no-shell", "--nodelist=n2", "--ntasks=1"]
    for core in (0, 1):
        done = subprocess.run(share, capture_output=True, text=True, check=True)
        monkeypatch.setenv("SLURM_JOB_ID", done.stderr.partition("allocation ")[2].split()[0])
        launcher = make_launcher(LaunchOptions("slurm"), lambda pid: None)
        assert launcher.inventory() == Inventory((Host("n2", (core,)),))
        launcher.close()


def test_the_parts_of_a_heterogeneous_job_are_all_used(
    slurm: SlurmNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", slurm.allocate(1, ":", "--nodes=2", "--exclusive"))
    parts = slurm.command("squeue", "--noheader", "--format=%A").split()
    for number, job in enumerate(parts):
        monkeypatch.setenv(f"SLURM_JOB_ID_HET_GROUP_{number}", job)
    program = ["sh", "-c", f"{TELL}; exec sleep 1000"]
    with Experiment("parts", grace_s=20) as exp:
        one = exp.start(Application("one", program, resources=Resources(ranks=2)))
        two = exp.start(Application("two", program, resources=Resources(nodes=2)))
        for job, hosts in ((one, {"n1"}), (two, {"n2", "n3"})):
            until(lambda job=job: job.log.exists() and job.log.read_text().count("rank") == 2)
            assert {line.split()[3] for line in job.log.read_text().splitlines()} == hosts
        with pytest.raises(PlacementError, match="which are in 2 parts of a heterogeneous job"):
            exp.start(Application("all", ["true"], resources=Resources(nodes=3)))
    assert (one.returncode, two.returncode) == (-signal.SIGTERM, -signal.SIGTERM)
    with Experiment("part", LaunchOptions(hosts=parse_hosts("n2:2,n3:2"))) as exp:
        both = exp.start(Application("both", ["hostname"], resources=Resources(nodes=2)))
        exp.wait(timeout_s=60)
        assert set(both.log.read_text().split()) == {"n2", "n3"}
    until(lambda: not slurm.steps())


def test_each_rank_has_its_gpu(slurm: SlurmNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", slurm.allocate(1, "--gres=gpu:2"))
    tell = ["sh", "-c", 'echo "${SLURM_PROCID:-alone} $CUDA_VISIBLE_DEVICES"']
    with Experiment("gpus") as exp:
        assert exp.preview().inventory.hosts == (Host("n4", (0, 1), (0, 1)),)
        pair = exp.start(Application("pair", tell, resources=Resources(ranks=2, gpus=1)))
        exp.wait(timeout_s=60)
        one = exp.start(Application("one", tell, resources=Resources(gpus=1)))
        exp.wait(timeout_s=60)
        with pytest.raises(PlacementError, match="needs 3 GPU"):
            exp.start(Application("three", tell, resources=Resources(gpus=3)))
    assert sorted(pair.log.read_text().splitlines()) == ["0 0", "1 1"]
    assert one.log.read_text() == "0 0\n"


def test_each_rank_has_its_host_and_cores(start: Callable[..., Job]) -> None:
    job = start(["sh", "-c", TELL], ("n1", (0,)), ("n3", (0,)), ("n3", (1,)))
    assert job.wait(30) is JobState.COMPLETED
    here = f"in {job.directory}"
    assert sorted(job.log.read_text().splitlines()) == [
        f"rank 0 host n1 cores 0 {here}",
        f"rank 1 host n3 cores 0 {here}",
        f"rank 2 host n3 cores 1 {here}",
    ]


def test_ranks_of_hosts_that_differ_bind_themselves(start: Callable[..., Job]) -> None:
    job = start(["sh", "-c", TELL], ("n2", (1,)), ("n4", (0, 1)))
    job.wait(30)
    assert [line.partition(" in ")[0] for line in sorted(job.log.read_text().splitlines())] == [
        "rank 0 host n2 cores 1",
        "rank 1 host n4 cores 0,1",
    ]


def test_a_rank_that_fails_ends_the_others_and_is_what_is_told(start: Callable[..., Job]) -> None:
    job = start(["sh", "-c", "test $SLURM_PROCID = 0 && exec sleep 1000; exit 3"], ("n1", (0,)), ("n2", (0,)))
    with pytest.raises(JobFailed, match="ended with exit code 3"):
        job.wait(30)


def test_a_step_that_never_starts_says_why(start: Callable[..., Job], allocation: SlurmNodes) -> None:
    with pytest.raises(JobFailed, match=r"'job' has never started: Unable to create step .* not available"):
        start(["true"], ("n9", (0,))).wait(30)
    with pytest.raises(JobFailed, match=r"'job' has never started: .* Unable to satisfy cpu bind"):
        start(["true"], ("n1", (63,))).wait(30)
    until(lambda: not allocation.steps())


def test_a_killed_srun_is_a_failure_that_leaves_no_step(
    start: Callable[..., Job], allocation: SlurmNodes, gone: Callable[..., None], tmp_path: Path
) -> None:
    program = f"echo $$ > {tmp_path}/pid; trap '' TERM HUP PIPE; while :; do sleep 1; done"
    job = start(["sh", "-c", program], ("n2", (0,)))
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(job.pid or 0, signal.SIGKILL)
    with pytest.raises(JobFailed, match="'job' is lost: its srun was killed by SIGKILL"):
        job.wait(30)
    gone(int((tmp_path / "pid").read_text()))
    until(lambda: not allocation.steps())


def test_programs_end_though_slurm_cannot_be_asked(
    start: Callable[..., Job],
    allocation: SlurmNodes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped, lost = (
        start(["sh", "-c", "echo up; exec sleep 1000"], ("n1", (0,)), name=name) for name in "ab"
    )
    for job in (stopped, lost):
        until(lambda job=job: job.log.exists() and job.log.read_text() == "up\n")
    with monkeypatch.context() as changed:
        changed.setenv("PATH", "/nowhere")
        stopped.stop(20)
        assert stopped.state is JobState.CANCELED
        os.kill(lost.pid or 0, signal.SIGKILL)
        with pytest.raises(JobFailed, match="; its step may still run: there is no squeue on PATH"):
            lost.wait(30)
    assert "a cannot be told to end, and is killed: there is no squeue on PATH" in capsys.readouterr().err
    (step,) = find_steps(os.environ["SLURM_JOB_ID"], "b")
    signal_step(step, signal.SIGKILL)
    until(lambda: not allocation.steps())


def test_a_program_that_is_stopped_while_its_step_is_made_never_runs_on(
    start: Callable[..., Job], allocation: SlurmNodes
) -> None:
    for _ in range(5):
        job = start(FOREVER, ("n1", (0,)), ("n2", (0,)))
        job.stop(0.5)  # Slurm loses a SIGTERM that comes between the step and its programs
        assert job.state is JobState.CANCELED
    until(lambda: not allocation.steps())


@pytest.mark.skipif(
    shutil.which("mpicc.mpich") is None, reason="there is no mpicc.mpich to compile ranks with"
)
@pytest.mark.parametrize("extra_args", [("--mpi=pmi2",), ()])
def test_the_ranks_of_mpich_are_one_world(
    allocation: SlurmNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra_args: tuple[str, ...]
) -> None:
    if not extra_args:
        monkeypatch.setenv("SLURM_MPI_TYPE", "pmi2")
    ranks = tmp_path / "ranks"
    subprocess.run(["mpicc.mpich", "-o", str(ranks), str(SOURCE)], check=True, timeout=60)
    with Experiment("world", LaunchOptions("slurm", extra_args=extra_args)) as exp:
        # one rank a node: with more, the UCX of MPICH 4.0 hangs now and then, by srun alone as well
        job = exp.start(Application("ranks", [ranks], resources=Resources(nodes=3)))
        exp.wait(timeout_s=60)
    said = sorted(job.log.read_text().splitlines())
    assert said == [f"rank {number} of 3, sum 3, cores 0" for number in range(3)]


def test_an_experiment_places_over_the_allocation(allocation: SlurmNodes) -> None:
    with Experiment("spread", "slurm") as exp:
        pair = exp.start(
            Application("pair", ["sh", "-c", TELL], resources=Resources(nodes=2, ranks_per_node=2))
        )
        away = exp.start(Application("away", ["hostname"], resources=Resources(away_from="pair")))
        exp.wait(timeout_s=60)
        assert {line.split()[3] for line in pair.log.read_text().splitlines()} == {"n1", "n2"}
        assert away.log.read_text() == "n3\n"
        with pytest.raises(PlacementError, match="needs 9 core"):
            exp.start(Application("much", ["true"], resources=Resources(ranks=9, exclusive=True)))
    written = read_record(exp.run_dir)["jobs"][0]["ranks"]
    assert [rank["host"] for rank in written] == ["n1", "n1", "n2", "n2"]


def test_programs_on_nodes_reach_a_database_on_the_login_node(allocation: SlurmNodes) -> None:
    ask = "import os, redis; h, p = os.environ['SSDB'].split(':'); print(redis.Redis(h, int(p)).ping())"
    with Experiment("reach") as exp:
        db = exp.start(Orchestrator(port=0, interface=allocation.bridge, open_port=True, module=()))
        command = [sys.executable, "-c", ask]
        job = exp.start(Application("ask", command, resources=Resources(nodes=4)), database=db)
        exp.wait(timeout_s=60)
        assert job.log.read_text().split() == ["True"] * 4


def test_a_database_that_nodes_cannot_reach_is_refused(allocation: SlurmNodes) -> None:
    with Experiment("reach") as exp:
        db = exp.start(Orchestrator(module=()))
        with pytest.raises(
            PlacementError, match=r"'ask' has its place on n1, .* cannot be reached: give it an"
        ):
            exp.start(Application("ask", ["true"]), database=db)


def test_leaving_the_block_ends_steps(allocation: SlurmNodes, gone: Callable[..., None]) -> None:
    tell = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"]
    with Experiment("left", "slurm", grace_s=1) as exp:
        job = exp.start(Application("long", tell, resources=Resources(nodes=4)))
        until(lambda: len(job.log.read_text().split()) == 4)
        pids = [int(word) for word in job.log.read_text().split()]
    gone(*pids)
    assert job.state is JobState.CANCELED
    until(lambda: not allocation.steps())


RUN = """
from orchestrator import Application, Experiment, Resources

def main(config, *, launcher, run_dir):
    with Experiment("toy", launcher=launcher, run_dir=run_dir) as exp:
        job = exp.start(Application("solver", ["hostname"], resources=Resources(nodes=2)))
        exp.wait(job)
        print(job.log.read_text() if not exp.dry_run else "shown")
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """An experiment whose program runs on two hosts."""
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "run.py").write_text(RUN)
    return tmp_path / "toy"


def test_in_an_allocation_nothing_need_be_said(toy: Path, allocation: SlurmNodes) -> None:
    done = penstock("run", "toy")
    assert set(done.stdout.split()) == {"n1", "n2"}, done.stderr
    some = penstock("run", "toy", "--hosts", "n3:2,n4:2")
    assert set(some.stdout.split()) == {"n3", "n4"}, some.stderr
    with Experiment("e") as exp:
        assert len(exp.preview().inventory.hosts) == 4


@pytest.mark.parametrize(
    "words",
    [
        ("--nodes=4", "--exclusive"),
        ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2"),
        ("--nodes=2", "--ntasks=2", "--exclusive", "srun", "--nodes=1", "--ntasks=1"),
    ],
)
def test_an_allocation_of_any_shape_will_do(toy: Path, slurm: SlurmNodes, words: tuple[str, ...]) -> None:
    """What salloc and srun leave in the environment of the driver is no concern of its steps."""
    said = slurm.command("salloc", *words, sys.executable, "-m", "orchestrator.cli", "run", "toy")
    assert set(said.split()) == {"n1", "n2"}


def test_the_preview_shows_what_srun_is_given(
    toy: Path, allocation: SlurmNodes, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_directory))  # the lines make the runtime directory too
    shown = penstock("run", "toy", "--preview").stdout
    job = os.environ["SLURM_JOB_ID"]
    assert f"toy: 1 program by the launcher slurm (job {job}), on 4 hosts with 8 cores" in shown
    assert "--ntasks=2 --distribution=arbitrary --nodelist=n1,n2 --cpu-bind=mask_cpu:0x1" in shown
    by_hand = shown[shown.index("mkdir -p") :].removesuffix("shown\n")
    subprocess.run(["sh", "-ec", by_hand], check=True, timeout=60)
    (log,) = Path("runs").glob("toy/*/solver/log.txt")
    assert set(log.read_text().split()) == {"n1", "n2"}


def test_a_preview_needs_no_slurm(toy: Path) -> None:
    hosts = ("--hosts", "a:4,b:4", "--launcher", "slurm")
    unasked = {**os.environ, "SLURM_CONF": "/nowhere"}
    assert "--nodelist=a,b" in penstock("run", "toy", "--preview", *hosts, env=unasked).stdout
    refused = penstock("run", "toy", *hosts)
    assert refused.returncode == 2 and "get one with salloc" in refused.stderr


START = """
with Experiment("killed") as exp:
    tell = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"]
    job = exp.start(Application("long", tell, resources=Resources(nodes=3)))
    while len(job.log.read_text().split()) < 3:
        assert not job.wait_ended(0.01)
    print(*job.log.read_text().split(), exp._guard.pid, flush=True)
    exp.wait()
"""


def test_a_killed_driver_leaves_no_step(
    allocation: SlurmNodes, driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    running = driver(START)
    pids = running.numbers()
    assert len(allocation.steps()) == 1
    running.signal(signal.SIGKILL)
    running.end()
    gone(*pids)
    until(lambda: not allocation.steps())
    assert allocation.command("squeue", "--noheader", "--format=%T") == "RUNNING"


def test_stop_ends_steps_where_the_watcher_was_killed_too(
    allocation: SlurmNodes, driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    running = driver(START)
    *pids, watcher = running.numbers()
    until(lambda: all_runs()[0].record.jobs)  # it is written a moment later
    (srun,) = [job.pid for job in all_runs()[0].record.jobs]
    os.kill(running.process.pid, signal.SIGSTOP)  # it starts no other watcher
    os.kill(watcher, signal.SIGKILL)
    running.signal(signal.SIGKILL)
    running.end()
    os.kill(srun, signal.SIGKILL)
    gone(*pids)
    assert len(allocation.steps()) == 1
    assert "cleaned up" in penstock("stop").stdout
    until(lambda: not allocation.steps())


def test_a_driver_that_is_told_to_end_leaves_no_step(
    allocation: SlurmNodes, driver: Callable[[str], Driver], gone: Callable[..., None]
) -> None:
    running = driver(START)
    pids = running.numbers()
    running.signal(signal.SIGTERM)
    running.end()
    gone(*pids)
    until(lambda: not allocation.steps())
    assert all_runs()[0].state == "interrupted"


def test_an_allocation_that_is_taken_away_is_a_failure(
    start: Callable[..., Job], allocation: SlurmNodes
) -> None:
    job = start(["sh", "-c", "echo up; exec sleep 1000"], ("n1", (0,)), ("n2", (0,)))
    until(lambda: job.log.exists() and job.log.read_text().count("up") == 2)
    allocation.command("scancel", os.environ["SLURM_JOB_ID"])
    with pytest.raises(JobFailed, match="SIGTERM"):
        job.wait(60)


@pytest.mark.slow
def test_a_node_that_dies_is_told_of_each_program(start: Callable[..., Job], allocation: SlurmNodes) -> None:
    """Slurm notices after SlurmdTimeout, and ends the job with all its steps."""
    program = ["sh", "-c", "echo up; exec sleep 1000"]
    there, elsewhere = (
        start(program, ("n4", (0,)), name="there"),
        start(program, ("n1", (0,)), name="elsewhere"),
    )
    for job in (there, elsewhere):
        until(lambda job=job: job.log.exists() and job.log.read_text() == "up\n")
    allocation.kill_node("n4")
    try:
        with pytest.raises(JobFailed, match=r"'after' has never started: Task launch .* failed on node n4"):
            start(["true"], ("n4", (0,)), name="after").wait(60)
        with pytest.raises(JobFailed, match="'there' is lost: Node failure on n4"):
            there.wait(90)
        with pytest.raises(JobFailed, match="SIGTERM"):
            elsewhere.wait(30)
        until(lambda: not allocation.steps())
    finally:
        allocation.start_node("n4")
