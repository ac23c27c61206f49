"""Ensembles that are submitted to Slurm as one job array, and followed from its login node: this host."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import ROOT
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until
from tests.integration.orchestrator.submitted import shown, the_run

pytestmark = pytest.mark.slurm

RUN = """
from orchestrator import Application, Ensemble, Experiment, InputFiles
from orchestrator import Orchestrator, Policy, Resources, colocate

def main(config, *, launcher, run_dir):
    with Experiment("toy", launcher=launcher, run_dir=run_dir LIMITS) as exp:
        grid = {"n": list(range(config["count"]))}
        members = Ensemble("m", ["sh", "-c", config["does"]], grid=grid RESOURCES)
        MORE
        group = exp.start(members POLICY)
        exp.wait(group)
"""
DOES = "echo member {n} on $(hostname) in $(pwd)"


def write_experiment(
    directory: Path,
    does: str = DOES,
    resources: str = "",
    more: str = "pass",
    policy: str = "",
    limits: str = "",
) -> None:
    """Write an experiment with an ensemble of six."""
    directory.mkdir(exist_ok=True)
    script = RUN.replace("RESOURCES", resources).replace("MORE", more).replace("POLICY", policy)
    script = script.replace("LIMITS", limits)
    (directory / "run.py").write_text(script)
    (directory / "config.toml").write_text(f"does = {json.dumps(does)}\ncount = 6\n")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """An experiment with an ensemble of six."""
    write_experiment(tmp_path / "toy")
    return tmp_path / "toy"


ON = ("--on", "slurm", "--time", "10")
POLITE = """
import os, signal, sys, time

def end(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm tells it, and so does its element
    print("in order", flush=True)
    sys.exit()

signal.signal(signal.SIGTERM, end)
print(os.getpid(), flush=True)
time.sleep(1000)
"""


def submit(*more: str, array: str = "3") -> None:
    """Submit the experiment."""
    done = penstock("run", "toy", *ON, "--array", array, *more)
    assert done.returncode == 0, done.stderr


def wait_over() -> dict[str, Any]:
    """Wait until the run is over, and return what ps shows of it."""
    until(lambda: the_run().state not in ("queued", "active"))
    return shown()


def by_name(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the members that ps shows, by their names."""
    return {job["name"]: job for job in run["jobs"]}


def test_members_run_in_elements_and_are_followed(toy: Path, slurm: SlurmNodes) -> None:
    done = penstock("run", "toy", *ON, "--array", "3", "--sbatch=--comment=two words")
    assert done.returncode == 0, done.stderr
    run = the_run()
    assert f"submitted {run.run_id} as job {run.record.batch}: 6 members in 3 elements" in done.stderr
    assert (run.directory / "batch.sh").read_text() == done.stdout
    assert "#SBATCH --array=0-2\n#SBATCH --ntasks=1\n#SBATCH --cpus-per-task=1\n" in done.stdout
    followed = penstock("logs", "m_5", "-f").stdout if wait_over() else ""
    members = by_name(shown())
    assert (shown()["state"], shown()["error"]) == ("completed", None)
    assert [members[f"m_{n}"]["element"] for n in range(6)] == [0, 1, 2, 0, 1, 2]
    assert {(job["state"], job["returncode"]) for job in members.values()} == {("completed", 0)}
    assert followed == f"member 5 on {members['m_5']['host']} in {run.directory / 'm_5'}\n"
    assert members["m_3"]["parameters"] == {"n": 3, "replica": 0}
    assert members["m_0"]["ended"] <= members["m_3"]["started"]
    assert penstock("ps").stdout == "no run is active\n"
    assert penstock("logs", "element_1").stdout == ""
    assert "has no program 'batch'; it has: m_0" in penstock("logs", "batch").stderr


def test_members_find_their_input_files(toy: Path, slurm: SlurmNodes, tmp_path: Path) -> None:
    (tmp_path / "run.cfg").write_text("n is ;n;\n")
    write_experiment(toy, "cat run.cfg", f", files=InputFiles(configured=[{str(tmp_path / 'run.cfg')!r}])")
    submit()
    members = by_name(wait_over())
    assert [Path(members[f"m_{n}"]["log"]).read_text() for n in range(6)] == [f"n is {n}\n" for n in range(6)]
    assert {job["files"][0]["target"] for job in members.values()} == {"run.cfg"}


def test_an_input_file_that_cannot_be_laid_submits_nothing(
    toy: Path, slurm: SlurmNodes, tmp_path: Path
) -> None:
    write_experiment(toy, "true {n}", ", files=InputFiles(copied=[exp.run_dir / 'made' / 'by_another'])")
    done = penstock("run", "toy", *ON, "--array", "3")
    assert done.returncode == 2 and "an input file of 'm_0' cannot be laid: " in done.stderr, done.stderr
    assert slurm.command("squeue", "--noheader") == ""


def test_a_failed_member_is_one_and_others_go_on(toy: Path, slurm: SlurmNodes) -> None:
    write_experiment(
        toy,
        "echo trying {n}; test {n} -ne 1 -a {n} -ne 2 || kill -9 $$",
        policy=", policy=Policy(retries=1, pause_s=0.1)",
    )
    submit()
    run = wait_over()
    members = by_name(run)
    assert run["state"] == "failed"
    assert run["error"] == "2 of 6 members have failed: m_1, m_2"
    assert [members[f"m_{n}"]["returncode"] for n in range(6)] == [0, -9, -9, 0, 0, 0]
    assert [members[f"m_{n}"]["attempts"] for n in range(6)] == [1, 2, 2, 1, 1, 1]
    assert penstock("logs", "m_1").stdout == "trying 1\ntrying 1\n"


def test_members_that_failed_are_submitted_again(toy: Path, slurm: SlurmNodes) -> None:
    write_experiment(toy, "echo trying {n}; test {n} -ne 1 -a {n} -ne 2 || test -e ../repaired")
    submit()
    run = wait_over()
    assert run["error"] == "2 of 6 members have failed: m_1, m_2"
    assert f"to go on: penstock run --resume {run['run']}" in penstock("ps", "--all").stdout
    refused = penstock("run", "--resume", run["run"], "--launcher", "local")
    assert refused.returncode == 2 and "--resume of a job array submits it as it was" in refused.stderr
    (the_run().directory / "repaired").touch()
    done = penstock("run", "--resume", run["run"])
    assert done.returncode == 0, done.stderr
    assert f"submitted {run['run']} again as job " in done.stderr and "2 members in 2 elements" in done.stderr
    now = penstock("run", "--resume", run["run"])
    assert now.returncode == 1 and re.search("cannot be resumed: it is (queued|active|completed)", now.stderr)
    run = wait_over()
    assert (run["state"], run["error"]) == ("completed", None)
    assert penstock("logs", "m_1").stdout == "trying 1\ntrying 1\n"
    assert penstock("logs", "m_0").stdout == "trying 0\n", "what has completed is not run again"


def test_a_member_ends_at_its_own_time(toy: Path, slurm: SlurmNodes) -> None:
    write_experiment(toy, "test {n} -ne 4 || exec sleep 1000", policy=", policy=Policy(timeout_s=1)")
    submit()
    run = wait_over()
    assert by_name(run)["m_4"]["reason"] == "ran longer than its 1 s and was stopped"
    assert run["error"] == "1 of 6 members have failed: m_4"


def test_it_waits_says_why_and_is_stopped(toy: Path, slurm: SlurmNodes) -> None:
    slurm.allocate()
    submit()
    until(lambda: shown()["job"]["reason"] == "Resources")
    run = shown()
    assert (run["state"], len(run["jobs"])) == ("queued", 6)
    assert f"job {run['batch']} is pending: Resources" in penstock("ps").stdout
    assert penstock("stop").stdout == f"stopped {run['run']}\n"
    assert (shown()["state"], {job["state"] for job in shown()["jobs"]}) == ("canceled", {"canceled"})


def test_a_running_array_is_stopped_as_a_whole(
    toy: Path, slurm: SlurmNodes, gone: Callable[..., None]
) -> None:
    (toy / "polite.py").write_text(POLITE)
    write_experiment(toy, f"exec {sys.executable} {toy}/polite.py {{n}}")
    submit()
    until(lambda: sum(job["state"] == "active" for job in shown()["jobs"]) == 3)
    until(lambda: all(penstock("logs", f"m_{n}").stdout for n in range(3)))
    assert "job " in penstock("ps").stdout and "is running: 3 elements" in penstock("ps").stdout
    pids = [int(penstock("logs", f"m_{n}").stdout.split()[0]) for n in range(3)]
    run = shown()
    assert penstock("stop").stdout == f"stopped {run['run']}\n"
    gone(*pids)
    run = shown()
    assert run["state"] == "canceled"
    assert {job["state"] for job in run["jobs"]} == {"canceled"}
    assert [penstock("logs", f"m_{n}").stdout.endswith("in order\n") for n in range(3)] == [True] * 3


def test_an_element_that_is_canceled_ends_its_members_alone(toy: Path, slurm: SlurmNodes) -> None:
    write_experiment(toy, "echo {n}; exec sleep 1000")
    submit()
    until(lambda: all(penstock("logs", f"m_{n}").stdout for n in range(3)))
    slurm.command("scancel", f"{the_run().record.batch}_1")
    until(lambda: by_name(shown())["m_4"]["state"] == "canceled")
    members = by_name(shown())
    assert shown()["state"] == "active"
    assert [members[f"m_{n}"]["state"] for n in (0, 1, 2, 3)] == ["active", "canceled", "active", "queued"]
    assert members["m_4"]["reason"] == "was ended with its element"
    penstock("stop")


def test_the_program_of_an_element_that_is_killed_loses_its_members_alone(
    toy: Path, slurm: SlurmNodes, gone: Callable[..., None]
) -> None:
    write_experiment(toy, "setsid sleep 1000 & echo $! $PPID {n}; wait")
    submit()
    until(lambda: all(penstock("logs", f"m_{n}").stdout for n in range(3)))
    member, element = map(int, penstock("logs", "m_1").stdout.split()[:2])
    os.kill(element, signal.SIGKILL)
    gone(member)
    until(lambda: by_name(shown())["m_1"]["state"] == "lost")
    members = by_name(shown())
    assert shown()["state"] == "active"
    assert [members[f"m_{n}"]["state"] for n in (0, 2, 3, 4)] == ["active", "active", "queued", "lost"]
    table = penstock("ps").stdout
    assert "lost" in table and "2 elements" in table
    for number in (0, 2):
        element = int(penstock("logs", f"m_{number}").stdout.split()[1])
        os.kill(element, signal.SIGKILL)
    until(lambda: the_run().state == "lost")
    assert "ended before its members had" in penstock("stop").stdout
    assert (shown()["state"], {job["state"] for job in shown()["jobs"]}) == ("failed", {"canceled"})


def test_what_a_member_asks_for_is_what_its_element_gets(toy: Path, slurm: SlurmNodes) -> None:
    does = (
        "taskset -cp $$ | sed 's/.*: //'; echo $OMP_NUM_THREADS $SLURM_CPUS_ON_NODE $SLURM_GPUS_ON_NODE {n}"
    )
    write_experiment(toy, does, ", resources=Resources(cores=2, gpus=1)")
    submit(array="2%1")
    run = wait_over()
    assert run["state"] == "completed"
    assert {job["host"] for job in run["jobs"]} == {"n4"}, "the only node with GPUs"
    assert penstock("logs", "m_0").stdout == "0,1\n2 2 1 0\n"


def test_members_with_ranks_are_steps(toy: Path, slurm: SlurmNodes) -> None:
    write_experiment(
        toy, "echo rank $SLURM_PROCID of $SLURM_NTASKS on $(hostname) {n}", ", resources=Resources(nodes=2)"
    )
    submit(array="6%1")
    assert wait_over()["state"] == "completed"
    lines = sorted(penstock("logs", "m_3").stdout.splitlines())
    assert [line.partition(" on ")[0] for line in lines] == ["rank 0 of 2", "rank 1 of 2"]
    assert len({line.partition(" on ")[2] for line in lines}) == 2


def test_a_member_may_have_a_database_beside_it(toy: Path, slurm: SlurmNodes) -> None:
    program = toy.parent / "store.py"
    program.write_text(
        "import numpy as np\nfrom sim_clients import connect\nclient = connect()\n"
        "client.put_snapshot(0, {'u': np.zeros(2)})\nprint('stored')\n"
    )
    more = f'members = colocate(Application("m", [sys.executable, "{program}"]))'
    write_experiment(toy, more=f"import sys; {more}")
    submit(array="1")
    assert wait_over()["state"] == "completed", penstock("logs", "m").stdout
    assert "stored" in penstock("logs", "m").stdout


def test_the_sweep_of_the_page_on_slurm_runs(slurm: SlurmNodes, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "slurm.md").read_text()
    (text,) = (text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "# sweep/" in text)
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "run.py").write_text(text)
    done = penstock("run", "sweep", *ON, "--array", "4")
    assert done.returncode == 0, done.stderr
    assert wait_over()["state"] == "completed"
    assert re.fullmatch(r"viscosity 0\.03 on n\d\n", penstock("logs", "heat_2").stdout)
    here = penstock("run", "sweep")
    assert here.stdout.startswith("viscosity 0.01 on "), here.stderr


def test_more_elements_than_members_are_not_asked_for(toy: Path) -> None:
    done = penstock("run", "toy", *ON, "--array", "100%2", "--preview")
    assert "#SBATCH --array=0-5%2\n" in done.stdout
    assert "--array 100: there are 6 members, so there are as many elements" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--array", "3"], "give --on too"),
        (["--on", "slurm", "--array", "3"], "--array needs --time"),
        ([*ON, "--array", "3", "--nodes", "2"], "--array needs --time H:MM:SS; nodes and cores are those"),
        ([*ON, "--array", "0"], "--array '0': write how many elements"),
        ([*ON, "--array", "3%0"], "--array '3%0': write how many"),
        ([*ON, "--array", "1-3"], "--array '1-3': write how many"),
        ([*ON, "--array", "3", "--launcher", "local"], "--launcher and --mpiexec do not go with --array"),
        ([*ON, "--array", "3", "--hosts", "a:2"], "Slurm chooses the hosts"),
        ([*ON, "--array", "3", "--sbatch=-n4"], "-n4: is given by Penstock"),
        (["--on", "pbs", "--time", "5", "--array", "3"], "job arrays are of Slurm"),
        ([*ON, "--array", "3", "--set", "than=true"], "there is no 'than' in it"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_made(
    toy: Path, tmp_path: Path, arguments: list[str], named: str
) -> None:
    done = penstock("run", "toy", *arguments)
    assert done.returncode == 2 and named in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"more": "exp.start(Orchestrator())"}, "a job array cannot have a database for all, 'database'"),
        ({"policy": ", policy=Policy(priority=2)"}, r"Policy(priority=2) of m"),
        ({"policy": ", after=exp.start(Application('a', ['true']))"}, "after=: m would come after a"),
        ({"resources": ", resources=Resources(near='a')"}, "Resources(near='a') of m_0"),
        (
            {"more": "exp.start(Application('a', ['true'], resources=Resources(cores=2)))"},
            "programs that ask for different things, a and m_0",
        ),
        (
            {"more": "members = colocate(Application('x', ['true']), resources=Resources(cores=3, gpus=1))"},
            "colocate(resources=...) of x: its database shares what the member asks for",
        ),
        ({"more": "print(exp.preview(members))"}, "a preview of places"),
        ({"does": "/nowhere/{n}", "more": "members = Application('x', ['/nowhere/x'])"}, "does not exist"),
        ({"more": "return"}, "starts no program"),
        ({"limits": ", stop_before_s=60"}, "an Experiment with time_limit_s, stop_before_s or checkpoint_s"),
    ],
)
def test_what_an_array_cannot_do_is_refused(
    toy: Path, tmp_path: Path, written: dict[str, str], named: str
) -> None:
    write_experiment(toy, **written)
    done = penstock("run", "toy", *ON, "--array", "3")
    assert done.returncode == 2 and named in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("option", ["--time-limit", "--stop-before", "--checkpoint"])
def test_times_of_the_command_line_are_refused_as_those_of_the_experiment_are(
    toy: Path, tmp_path: Path, option: str
) -> None:
    done = penstock("run", "toy", *ON, "--array", "3", option, "60")
    named = "an Experiment with time_limit_s, stop_before_s or checkpoint_s"
    assert done.returncode == 2 and named in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()


def test_what_slurm_would_never_start_is_refused(toy: Path, slurm: SlurmNodes, tmp_path: Path) -> None:
    write_experiment(toy, resources=", resources=Resources(cores=64)")
    done = penstock("run", "toy", *ON, "--array", "3")
    assert done.returncode == 1 and "would not start this job" in done.stderr
    assert not (tmp_path / "runs").exists()
