"""docs/solvers.md: its programs, compiled by the very lines of the page, with a model and without one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sim_clients import Address, connect
from tests.integration.scripts import snippets
from tests.integration.servers import RedisServer
from tests.integration.torchscript import torchscript
from tests.steps import missing

PAGE = Path(__file__).parents[2] / "docs" / "solvers.md"
COMPILE = re.findall(r"`((?:cc|c\+\+|gfortran) [^`]*solver)`", PAGE.read_text())
FENCES = {"c": "c", "cc": "cpp", "f90": "fortran"}


def shell(line: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line with the `penstock` of this Python first on PATH."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euc", line],
        cwd=directory,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def write_programs(directory: Path) -> None:
    """Write each program of the page under the name that is in its first line."""
    for fence in FENCES.values():
        for program in snippets(PAGE, fence):
            (directory / program.splitlines()[0].split()[-1]).write_text(program)


def compiled(line: str, directory: Path) -> None:
    compiler = line.partition(" ")[0]
    if shutil.which(compiler) is None:
        missing(f"there is no {compiler}")
    write_programs(directory)
    shell(line, directory)


def test_the_page_compiles_each_language_once() -> None:
    assert [line.split()[0] for line in COMPILE] == ["cc", "c++", "gfortran"]


@pytest.mark.parametrize("line", COMPILE, ids=lambda line: line.split()[0])
@pytest.mark.parametrize("factor", [None, 3])
def test_the_solver_of_each_language(
    server: RedisServer, tmp_path: Path, line: str, factor: int | None
) -> None:
    compiled(line, tmp_path)
    address = Address.parse(server.address)
    client = connect(address)
    if factor is not None:
        client.put_model("jump", torchscript(f"def forward(self, u):\n    return {factor} * u\n"), 1)
    said = shell("./solver", tmp_path, PENSTOCK_NAME="solver", **address.environment()).stdout
    expected_errors = [] if factor is None else [(factor - 0.5) * 0.5**step for step in range(4)]
    errors = re.findall(r"step \d: the network is off by ([\d.]+)\n", said)
    assert [float(error) for error in errors] == pytest.approx(expected_errors, abs=1e-3)
    found = [client.get_snapshot(position) for position in range(client.announced())]
    assert [(snapshot.step, snapshot.time) for snapshot in found] == [
        (step, pytest.approx(0.1 * step)) for step in range(4)
    ]
    for snapshot in found:
        expected = np.zeros((64, 32), np.float32)
        expected[1, 2] = 0.5**snapshot.step
        np.testing.assert_array_equal(snapshot.fields["u"], expected)
    assert client.stream_ended("solver", 0)
    client.close()


@pytest.mark.parametrize("line", COMPILE, ids=lambda line: line.split()[0])
def test_a_solver_without_a_database_says_so(tmp_path: Path, line: str) -> None:
    compiled(line, tmp_path)
    done = subprocess.run(
        [tmp_path / "solver"],
        env={name: value for name, value in os.environ.items() if name != "SSDB"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "SSDB" in done.stderr


def test_what_else_fortran_has(server: RedisServer, tmp_path: Path) -> None:
    compiled(COMPILE[2].replace("solver", "more"), tmp_path)
    done = shell("./more", tmp_path, **Address.parse(server.address).environment())
    shape, told = done.stdout.splitlines()
    assert shape == "shape 3 4"
    assert told == "tensor 'inner': the database has float64 (4, 2), the array to be filled is float64 (2, 2)"
    client = connect(Address.parse(server.address))
    assert client.get_tensor("later").shape == (6, 4)
    client.close()


def test_make_takes_the_flags(tmp_path: Path) -> None:
    (lines,) = snippets(PAGE, "make")
    (tmp_path / "solver.c").write_text(snippets(PAGE, "c")[0])
    (tmp_path / "Makefile").write_text(lines)
    if shutil.which("make") is None or shutil.which("cc") is None:
        missing("there is no make, or no cc")
    shell("make solver", tmp_path)
    assert os.access(tmp_path / "solver", os.X_OK)


@pytest.mark.slow
def test_cmake_installs_it_as_the_page_says(tmp_path: Path) -> None:
    if shutil.which("pkg-config") is None or shutil.which("gfortran") is None:
        missing("there is no pkg-config, or no gfortran")
    write_programs(tmp_path)
    (lines,) = (text for text in snippets(PAGE, "sh") if "cmake" in text)
    shell(lines, tmp_path, HOME=str(tmp_path), PENSTOCK_CACHE=str(tmp_path / "cache"))
    assert os.access(tmp_path / "solver", os.X_OK)
