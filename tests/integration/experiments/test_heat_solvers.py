"""The solver of heat_surrogate in Python, C and Fortran: one database shows the same fields of all three."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sim_clients import Address, Client, connect
from sim_clients.errors import ClientBuildError
from sim_clients.snapshot import Snapshot
from tests.integration.experiments.test_experiments import ROOT, run
from tests.integration.servers import RedisServer

HEAT = ROOT / "experiments" / "heat_surrogate"
OPTIONS = {
    "seed": 2026,
    "waves": 2,
    "wave_jumps": 3,
    "points": 24,
    "jump_steps": 200,
    "jump_time": 1.5,
    "least_diffusivity": 0.005,
    "greatest_diffusivity": 0.015,
}
ARGUMENTS = [f"--{name}={value}" for name, value in OPTIONS.items()]


@pytest.fixture
def solvers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The experiment's own module of this name."""
    monkeypatch.syspath_prepend(str(HEAT))
    return importlib.import_module("solvers")


def solver(solvers: ModuleType, language: str, directory: Path) -> list[str]:
    """Compile the solver; without a compiler for it the test is skipped, and fails in CI."""
    try:
        made = solvers.Solver(language)
    except ClientBuildError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    directory.mkdir()
    made.compile_into(directory)
    return (
        [sys.executable, str(HEAT / "simulate.py")] if language == "python" else [str(directory / "solver")]
    )


def simulated(command: list[str], address: Address, name: str, directory: Path) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **address.environment(), "PENSTOCK_NAME": name, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((directory / "report.json").read_text())["snapshots"] == 2 * (3 + 1)


def snapshots(client: Client, producer: str) -> list[Snapshot]:
    every = (client.get_snapshot(position) for position in range(client.announced()))
    return [snapshot for snapshot in every if snapshot.producer == producer]


@pytest.mark.parametrize("language", ["c", "fortran"])
def test_a_compiled_solver_puts_what_the_one_in_python_puts(
    solvers: ModuleType, server: RedisServer, tmp_path: Path, language: str
) -> None:
    address = Address.parse(server.address)
    for each in ("python", language):
        command = solver(solvers, each, tmp_path / each)
        simulated([*command, *ARGUMENTS], address, f"in_{each}", tmp_path / each)
    client = connect(address)
    pairs = list(zip(snapshots(client, "in_python"), snapshots(client, f"in_{language}"), strict=True))
    assert len(pairs) == 8
    for ours, theirs in pairs:
        assert (ours.step, ours.time) == (theirs.step, theirs.time)
        assert list(ours.fields) == list(theirs.fields)
        for name, field in ours.fields.items():
            assert theirs.fields[name].dtype == np.float32
            np.testing.assert_allclose(theirs.fields[name], field, rtol=1e-5, atol=1e-6)
    assert client.stream_ended(f"in_{language}", 0)
    client.close()


@pytest.mark.parametrize("language", ["c", "fortran"])
@pytest.mark.parametrize(("left_out", "says"), [("points", "--points=NUMBER"), ("", "SSDB")])
def test_a_compiled_solver_says_what_it_lacks(
    solvers: ModuleType, tmp_path: Path, language: str, left_out: str, says: str
) -> None:
    command = solver(solvers, language, tmp_path / "here")
    given = [argument for argument in ARGUMENTS if not argument.startswith(f"--{left_out}=")]
    alone = {name: value for name, value in os.environ.items() if name != "SSDB"}
    done = subprocess.run(
        [*command, *given], cwd=tmp_path, env=alone, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert says in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("language", ["c", "fortran"])
def test_heat_surrogate_learns_from_compiled_solvers(
    solvers: ModuleType, tmp_path: Path, language: str
) -> None:
    solver(solvers, language, tmp_path / "there_is_a_compiler")
    done = run("heat_surrogate", "--quick", f"--set=solver={language}", run_dir=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["passed"]
    assert (tmp_path / "run" / "solver").is_file()


@pytest.mark.parametrize(("language", "variable"), [("c", "CC"), ("fortran", "FC")])
def test_a_missing_compiler_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, variable: str
) -> None:
    monkeypatch.setenv(variable, "there-is-none")
    done = run("heat_surrogate", f"--set=solver={language}", run_dir=tmp_path / "run")
    assert done.returncode == 1
    assert "there-is-none is on PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_source_that_does_not_compile_is_shown(
    solvers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "simulate.c").write_text("int main(void) { return nothing; }\n")
    monkeypatch.setattr(solvers, "HERE", tmp_path)
    with pytest.raises(solvers.BuildError, match=r"(?s)simulate\.c does not compile.*nothing"):
        solver(solvers, "c", tmp_path / "here")


def test_a_preview_shows_a_program_that_can_be_started(
    solvers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver(solvers, "c", tmp_path / "there_is_a_compiler")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = run("heat_surrogate", "--preview", "--json", "--set=solver=c", run_dir=tmp_path / "run")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    (program,) = {word for word in json.dumps(shown).replace('"', " ").split() if word.endswith("/solver")}
    assert os.access(program, os.X_OK)
    assert not (tmp_path / "run").exists()
