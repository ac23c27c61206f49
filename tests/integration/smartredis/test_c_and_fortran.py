"""SmartRedis' C and Fortran clients: real solvers, compiled here, on every deployment.

The wheel's library carries the whole C client. Its headers and the Fortran client's sources come from the
source distribution on PyPI. The library also asks for Python's symbols, which neither client touches: empty
objects stand in for them, so that the solver needs no Python. The C++ client's headers want those of
redis++, which no package has; its code is what both others call.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.smartredis.conftest import Deployment
from tests.integration.torchscript import adder
from tests.steps import missing

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "programs"
FORTRAN = ("fortran_c_interop", "errors", "configoptions", "logcontext", "dataset", "client", "logger")
SDIST = "smartredis==0.6.1"


@dataclass(frozen=True)
class Sdk:
    """What a solver is compiled with.

    Attributes:
        source: the unpacked source distribution.
        objects: the wheel's library, and what stands in for Python.
        directory: where to compile.
    """

    source: Path
    objects: tuple[str, ...]
    directory: Path


def compiled(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """Headers, Fortran sources and library."""
    directory = tmp_path_factory.mktemp("sdk")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", SDIST]
    asked = [*command, "--no-binary", "smartredis", "--dest", str(directory), "--disable-pip-version-check"]
    got = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=100)
    if got.returncode != 0:
        missing(f"the source distribution of SmartRedis cannot be fetched: {got.stderr[-300:]}")
    (archive,) = directory.glob("smartredis-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    (source,) = directory.glob("smartredis-*/")
    return Sdk(source, (str(stand_in_for_python(directory)), str(library())), directory)


def library() -> Path:
    """Return the wheel's library."""
    spec = importlib.util.find_spec("smartredis.smartredisPy")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def stand_in_for_python(directory: Path) -> Path:
    """Compile an empty object for each symbol of Python that the library asks for."""
    asked = subprocess.run(
        ["nm", "-D", "--undefined-only", str(library())], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in asked.stdout.splitlines()]
    wanted = sorted({name for name in names if name.startswith(("Py", "_Py"))})
    assert wanted
    (directory / "python.c").write_text("".join(f"char {name}[4096];\n" for name in wanted))
    compiled(["cc", "-w", "-c", "python.c", "-o", "python.o"], directory)
    return directory / "python.o"


def solver(sdk: Sdk, language: str) -> Path:
    """Return the solver, compiled once."""
    program = sdk.directory / f"{language}_solver"
    if program.exists():
        return program
    headers = f"-I{sdk.source / 'include'}"
    if language == "c":
        command = ["cc", "-Wall", "-Werror", headers, str(PROGRAMS / "solver.c")]
    else:
        if shutil.which("gfortran") is None:
            missing("no gfortran: apt install gfortran")
        modules = sdk.source / "src" / "fortran"
        command = ["gfortran", "-cpp", headers, f"-I{modules}"]
        command += [*(str(modules / f"{name}.F90") for name in FORTRAN), str(PROGRAMS / "solver.F90")]
    compiled([*command, *sdk.objects, "-rdynamic", "-o", str(program)], sdk.directory)
    return program


@pytest.mark.parametrize("language", ["c", "fortran"])
def test_a_solver_of_another_language(
    sdk: Sdk, deployment: Deployment, tmp_path: Path, language: str
) -> None:
    program = solver(sdk, language)
    deployment.flush()
    (tmp_path / "adder.pt").write_bytes(adder())
    quiet = {"SR_LOG_FILE": str(tmp_path / "log"), "SR_LOG_LEVEL": "INFO", "SR_CONN_TIMEOUT": "10"}
    done = subprocess.run(
        [str(program), str(tmp_path / "adder.pt")],
        env={**os.environ, **deployment.address.environment(), **quiet},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all answers are right" in done.stdout
