"""The experiments as a reader runs them, shortened; and what they say when they miss their bars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.orchestrator.report.runs import Page
from trainers.history import read_history

ROOT = Path(__file__).parents[3]


def run(
    name: str, *arguments: str, run_dir: Path, timeout_s: float = 100
) -> subprocess.CompletedProcess[str]:
    script = ROOT / "experiments" / name / "run.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments, f"--run-dir={run_dir}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=run_dir.parent,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize("name", ["sine_hello", "heat_surrogate", "lorenz96_closure"])
def test_a_training_without_steps_is_refused_before_anything_starts(name: str, tmp_path: Path) -> None:
    done = run(name, "--set=training.steps=0", run_dir=tmp_path / "run")
    assert done.returncode == 2 and "training.steps must be greater than 0, got 0" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_sine_hello(tmp_path: Path) -> None:
    done = run("sine_hello", run_dir=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["passed"]
    assert 0 < result["max_error"] < 0.02


@pytest.mark.slow
def test_heat_surrogate(tmp_path: Path) -> None:
    done = run("heat_surrogate", "--quick", run_dir=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["passed"]
    assert result["relative_error"] < 0.05
    assert result["times_better_than_persistence"] > 5
    assert result["versions_while_solvers_ran"] >= 3
    assert len(result["answered_by"]) >= 3
    assert result["inferences_failed"] == 0
    assert (tmp_path / "run" / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "error on unseen plates" in (tmp_path / "run" / "summary.txt").read_text()
    assert f"the whole run on a page: {tmp_path}/run/report.html" in done.stdout
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert "What could not be read" not in page.text
    assert 'alt="truth' in (tmp_path / "run" / "report.html").read_text() and "40 × 40, K" in page.text
    drawn = page.charts["Loss and validation over the gradient steps"]["validation, held-out samples"]
    history = read_history(tmp_path / "run" / "trainer")
    assert drawn == [[line["step"], line["validation"]] for line in history]


@pytest.mark.slow
def test_heat_surrogate_with_its_database_beside_the_coupled_solver(tmp_path: Path) -> None:
    done = run("heat_surrogate", "--quick", "--set=colocated=true", run_dir=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["passed"]
    assert not (tmp_path / "run" / "database").exists()


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_lorenz96_closure(tmp_path: Path) -> None:
    done = run("lorenz96_closure", "--quick", run_dir=tmp_path / "run", timeout_s=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["passed"]
    assert result["times_better_than_none"] > 5
    assert result["unexplained"]["closure"] < result["unexplained"]["cubic"] < result["unexplained"]["linear"]
    assert result["mean"].keys() == {"closure", "none", "linear", "cubic", "truth"}
    assert result["horizons"] == 10 and result["time_by_the_last_version"] == 300
    assert result["inferences"] > 30_000
    assert result["snapshots_while_coupled"] > 0
    trainer = json.loads((tmp_path / "run" / "trainer" / "report.json").read_text())
    assert trainer["gone_back_from"][-1] == trainer["worse_version"]
    coupled = json.loads((tmp_path / "run" / "coupled" / "report.json").read_text())
    assert trainer["worse_version"] in [line["version"] for line in coupled["versions"][:-1]]
    assert coupled["versions"][-1]["version"] != trainer["worse_version"]
    assert all(costs["largest_difference"] < 1e-5 for costs in read_costs(tmp_path / "run"))
    assert (tmp_path / "run" / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "Hellinger distance" in (tmp_path / "run" / "summary.txt").read_text()


def read_costs(run_dir: Path) -> list[dict[str, float]]:
    return list(json.loads((run_dir / "cost" / "report.json").read_text()).values())


@pytest.mark.slow
def test_a_missed_bar_is_a_failed_run(tmp_path: Path) -> None:
    done = run("sine_hello", "--set=training.steps=10", run_dir=tmp_path / "run")
    assert done.returncode == 1
    assert "max_error < 0.02 was not reached" in done.stderr
    assert not json.loads((tmp_path / "run" / "result.json").read_text())["passed"]


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("sine_hello", {"trainer", "swing_0", "swing_1"}),
        (
            "heat_surrogate",
            {"trainer", "coupled", "evaluation", "held_out_0", *(f"heat_{i}" for i in range(4))},
        ),
        (
            "lorenz96_closure",
            {
                *("trainer", "coupled", "fits", "cost", "held_out_0"),
                *("truth_0", "truth_1", "reference_0", "reference_1"),
            },
        ),
    ],
)
def test_a_preview_shows_every_program_and_starts_none(tmp_path: Path, name: str, programs: set[str]) -> None:
    done = run(name, "--preview", run_dir=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    shown = {line.removeprefix("# ") for line in done.stdout.splitlines() if line.startswith("# ")}
    assert shown == programs | {"database_0"}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("plate.jump_steps=10", "take more jump_steps"),
        ("plate.diffusivity=[0.02, 0.01]", "diffusivities from 0.02 to 0.01"),
        ("plate.diffusivity=[0.01]", "the [plate] of the configuration"),
        ("evaluation.members=0", "evaluation.members must be greater than 0"),
        ("training.steps=-1", "training.steps must be greater than 0"),
        ("nodes=2", "nodes beyond 1 need an interface"),
        ("solver='cobol'", "solver must be one of python, c, fortran, got 'cobol'"),
        ("buffer=lifo", "name is 'lifo', and must be one of fifo, firo, reservoir"),
        ("training.watermark=4001", "watermark is 4001, and must be at most its bound of 4000 samples"),
        ("seed=-1", "seed must be 0 to 21474836"),
        ("seed=2147483647", "seed must be 0 to 21474836"),
    ],
)
def test_a_setting_without_sense_is_refused_before_anything_starts(
    tmp_path: Path, setting: str, says: str
) -> None:
    done = run("heat_surrogate", f"--set={setting}", run_dir=tmp_path / "run")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("system.slow=3", "the [system] of the configuration: slow must be 4 or more, got 3"),
        ("every=0.015", "0.015 time units are no whole number of steps"),
        ("steps.coarse=0.0105", "no whole number of steps of 0.0105"),
        ("horizon=0.05", "0.05 time units are no whole number of steps of 0.1"),
        ("members=1000", "coupled.members must be members or more"),
        ("reference.runs=1", "reference.runs must be 2 or more"),
        ("network.upstream=-1", "network.upstream must be 0 to 35, got -1"),
        ("network.downstream=36", "network.downstream must be 0 to 35, got 36"),
        ("coupled.horizons=0", "coupled.horizons must be greater than 0"),
        ("seed=-1", "seed must be 0 or more, got -1"),
    ],
)
def test_a_lorenz_setting_without_sense_is_refused_before_anything_starts(
    tmp_path: Path, setting: str, says: str
) -> None:
    done = run("lorenz96_closure", f"--set={setting}", run_dir=tmp_path / "run")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
