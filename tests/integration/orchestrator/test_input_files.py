"""Input files of real programs: a solver that is configured by them, tried again, resumed, on other hosts."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from orchestrator import Application, Ensemble, Experiment, InputFiles, LaunchOptions, Policy, Resources
from orchestrator.errors import InputFileError, JobError, ResumeError
from orchestrator.record import all_runs
from orchestrator.run_files import read_record
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.slurm_nodes import SlurmNodes

ONE = Resources(cores=1)
DEADLINE_S = 60.0

# Solves the heat equation on a ring as its configuration says, and goes on from what it has written.
SOLVER = """
import configparser
import numpy as np

config = configparser.ConfigParser(inline_comment_prefixes="#")
config.read("input/heat.ini")
heat = config["heat"]
nu, steps, dt = heat.getfloat("nu"), heat.getint("steps"), heat.getfloat("dt")
u = np.load("state.npy")
dx = 2 * np.pi / np.load("mesh.npy").size
for _ in range(steps):
    u += nu * dt / dx**2 * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
np.save("state.npy", u)
print(heat["title"])
"""
CONFIG = """# all of it in one place
[heat]
title = viscosity @nu@
nu = @nu@
steps = 1000  # e.g. me@example.org
dt = 1e-4
"""


@pytest.fixture
def case(home: Path) -> Path:
    """The files of a solver."""
    (home / "heat.py").write_text(SOLVER)
    (home / "input").mkdir()
    (home / "input" / "heat.ini").write_text(CONFIG)
    mesh = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    np.save(home / "mesh.npy", mesh)
    np.save(home / "initial.npy", np.sin(mesh))
    return home


def solvers(case: Path, *viscosities: float, **options) -> Ensemble:
    files = InputFiles(
        copied={"state.npy": case / "initial.npy"},
        linked=[case / "mesh.npy"],
        configured=[case / "input"],
        tag="@",
    )
    command = [sys.executable, case / "heat.py"]
    facts = {"grid": {"nu": list(viscosities)}, "resources": ONE, "files": files, **options}
    return Ensemble("heat", command, **facts)


def amplitude(directory: Path) -> float:
    return float(np.abs(np.load(directory / "state.npy")).max())


def test_each_member_computes_what_its_own_files_say(case: Path) -> None:
    with Experiment("e") as exp:
        group = exp.start(solvers(case, 0.1, 1.0, 2.0))
        group.add(nu=4.0)
        exp.wait(timeout_s=DEADLINE_S)
    for job in group.jobs:
        nu = job.parameters["nu"]
        assert job.log.read_text() == f"viscosity {nu}\n"
        assert amplitude(job.directory) == pytest.approx(math.exp(-0.1 * nu), rel=1e-3)
        assert (job.directory / "mesh.npy").readlink() == case / "mesh.npy"
    assert np.abs(np.load(case / "initial.npy")).max() == 1.0  # nobody wrote to the original
    told = read_record(exp.run_dir)["jobs"][1]
    assert told["parameters"] == {"nu": 1.0, "replica": 0}
    assert [(each["how"], each["target"]) for each in told["files"]] == [
        ("copied", "state.npy"),
        ("linked", "mesh.npy"),
        ("configured", "input"),
    ]


def test_what_is_wrong_is_told_before_anything_starts(case: Path) -> None:
    with Experiment("e") as exp:
        with pytest.raises(InputFileError, match=r"heat.ini, line 3: there is no parameter 'nu' for @nu@"):
            exp.start(Application("a", ["true"], files=solvers(case, 1.0).files))
        with pytest.raises(InputFileError, match="'x' is used nowhere"):
            exp.start(solvers(case, 1.0, grid={"nu": [1], "x": [2]}))
        assert exp.jobs == () and [each.name for each in exp.run_dir.iterdir()] == ["run.json"]


def test_who_is_tried_again_goes_on_with_its_own_files(case: Path) -> None:
    (case / "heat.py").write_text(
        SOLVER + "raise SystemExit(bool(u.max() > 0.75))\n"
    )  # below after three attempts
    with Experiment("e") as exp:
        group = exp.start(solvers(case, 1.0), policy=Policy(retries=5, pause_s=0.01))
        exp.wait(timeout_s=DEADLINE_S)
    assert group.jobs[0].attempts == 3
    assert amplitude(group.jobs[0].directory) == pytest.approx(math.exp(-0.3), rel=1e-3)


def test_a_file_that_has_gone_when_the_turn_comes_is_named(case: Path) -> None:
    with Experiment("e") as exp:
        policy = Policy(on_failure="continue")
        os.mkfifo("told")
        first = exp.start(Application("first", ["sh", "-c", f"read go < {case}/told; rm {case}/initial.npy"]))
        group = exp.start(solvers(case, 1.0), after=first, policy=policy)
        (case / "told").write_text("go\n")
        assert group.wait(DEADLINE_S).value == "failed"
        with pytest.raises(JobError, match=r"'heat_0' could not be started: .*initial.npy"):
            group.jobs[0].wait()


def test_what_another_program_makes_is_found_when_the_turn_comes(case: Path) -> None:
    with Experiment("e") as exp:
        mesh = exp.start(Application("mesh", ["sh", "-c", "echo a mesh > mesh.dat; mkdir to; echo b > to/b"]))
        made = InputFiles(copied=[mesh.directory / "mesh.dat"], linked=[mesh.directory / "to"])
        job = exp.start(Application("use", ["cat", "mesh.dat", "to/b"], files=made), after=mesh)
        exp.wait(timeout_s=DEADLINE_S)
        assert job.log.read_text() == "a mesh\nb\n"
        for wrong in (InputFiles(linked=[mesh.directory / "no"]), InputFiles(copied=[mesh.directory / "no"])):
            policy = Policy(on_failure="continue")
            name = f"wrong_{len(exp.jobs)}"
            job = exp.start(Application(name, ["true"], files=wrong), after=mesh, policy=policy)
            with pytest.raises(JobError, match=r"could not be started: .*mesh/no"):
                job.wait(DEADLINE_S)
        with pytest.raises(InputFileError, match="mesh/no' does not exist"):
            exp.start(Application("x", ["true"], files=InputFiles(configured=[mesh.directory / "no"])))


def test_a_preview_shows_files_and_writes_none(case: Path) -> None:
    shown = []
    with Experiment("e", LaunchOptions("local", preview=True, show=shown.append)) as exp:
        exp.start(solvers(case, 0.1))
        wrong = Application("wrong", ["true"], parameters={"nu": 1, "x": 2}, files=solvers(case, 0.1).files)
        with pytest.raises(InputFileError, match="'x' is used nowhere"):
            exp.start(wrong)
    assert not exp.run_dir.exists()
    (preview,) = shown
    (member,) = preview.as_json()["programs"]
    assert [each["target"] for each in member["files"]] == ["state.npy", "mesh.npy", "input"]
    lines = str(preview).partition("# heat_0\n")[2].replace(" \\\n", " ")
    assert (
        f"cp -rL {case / 'initial.npy'} state.npy" in lines
        and "sed -i -e s/@nu@/0.1/g input/heat.ini" in lines
    )
    subprocess.run(["sh", "-ec", lines], check=True)
    assert amplitude(exp.run_dir / "heat_0") == pytest.approx(math.exp(-0.01), rel=1e-3)


RESUMED = """
import sys
from pathlib import Path
from orchestrator import *

HERE = Path(__file__).parent

def main(config, *, launcher, run_dir):
    with Experiment("e", launcher, run_dir=run_dir) as exp:
        files = InputFiles(copied={"count": HERE / "zero"}, configured=[HERE / "run.cfg"])
        command = ["sh", "-c", "echo >> count; test $(cat run.cfg) = 0 || test -e ../go || sleep 1000"]
        grid = {"n": list(range(config["members"]))}
        exp.start(Ensemble("m", command, grid=grid, resources=Resources(cores=1), files=files))
        exp.wait()
"""


@pytest.fixture
def experiment(home: Path) -> Path:
    directory = home / "experiment"
    directory.mkdir()
    (directory / "run.py").write_text(RESUMED)
    (directory / "config.toml").write_text("members = 3\n")
    (directory / "zero").write_text("given\n")
    (directory / "run.cfg").write_text(";n;\n")
    return directory


def test_a_resumed_run_lays_no_files_anew_and_refuses_others(experiment: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-m", "orchestrator.cli", "run", str(experiment)])
    try:
        deadline = time.monotonic() + DEADLINE_S
        while len(began(experiment)) < 2 or "m_0" not in completed():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        driver.send_signal(signal.SIGINT)
        driver.wait(DEADLINE_S)
    (run,) = all_runs()
    before = began(experiment)
    assert before["m_0"] == "given\n\n" and before["m_1"] == "given\n\n"
    (experiment / "run.cfg").write_text("changed ;n;\n")
    refused = penstock("run", "--resume", run.run_id)
    assert refused.returncode == 1
    assert "its input file 'run.cfg', from" in refused.stderr and "is not what it was" in refused.stderr
    (experiment / "run.cfg").write_text(";n;\n")
    (run.directory / "go").touch()
    done = penstock("run", "--resume", run.run_id)
    assert done.returncode == 0, done.stderr
    after = began(experiment)
    assert after == {
        "m_0": "given\n\n",
        "m_1": "given\n\n\n",
        "m_2": f"{before.get('m_2', 'given' + chr(10))}\n",
    }


def began(experiment: Path) -> dict[str, str]:
    """What each member of the newest run has noted of its starts after what it was given."""
    runs = all_runs()
    files = runs[0].directory.glob("m_*/count") if runs else []
    noted = {file.parent.name: file.read_text() for file in files}
    return {name: text for name, text in noted.items() if text != "given\n"}


def completed() -> set[str]:
    """Return the members of the newest run that are recorded as completed."""
    jobs = read_record(all_runs()[0].directory)["jobs"]
    return {job["name"] for job in jobs if job["state"] == "completed"}


def test_other_parameters_are_refused_by_a_resume(case: Path) -> None:
    with pytest.raises(KeyError), Experiment("e", run_dir=case / "run") as exp:
        exp.start(solvers(case, 0.1)).wait(DEADLINE_S)
        raise KeyError("in the script")
    options = LaunchOptions(resume=True)
    with (
        pytest.raises(ResumeError, match=r"'heat_0': its parameter 'nu' is 0\.2, and was 0\.1"),
        Experiment("e", options, run_dir=case / "run") as exp,
    ):
        exp.start(solvers(case, 0.2))
    with Experiment("e", options, run_dir=case / "run") as exp:
        group = exp.start(solvers(case, 0.1))
        exp.wait()
    assert group.jobs[0].log.read_text() == "viscosity 0.1\n"  # it did not run again


@pytest.mark.slurm
def test_programs_on_other_hosts_find_their_files(case: Path, allocation: SlurmNodes) -> None:
    with Experiment("e") as exp:
        files = solvers(case, 1.0).files
        tell = ["sh", "-c", "hostname; cat input/heat.ini mesh.npy > /dev/null && grep title input/heat.ini"]
        resources = Resources(nodes=4)
        job = exp.start(Application("a", tell, resources=resources, parameters={"nu": 3}, files=files))
        exp.wait(timeout_s=DEADLINE_S)
    told = job.log.read_text().split("\n")
    assert told.count("title = viscosity 3") == 4 and len(set(told) & set(job.placement.hosts)) == 4
    assert json.loads((exp.run_dir / "run.json").read_text())["jobs"][0]["files"][0]["target"] == "state.npy"
