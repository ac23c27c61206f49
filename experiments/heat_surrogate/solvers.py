"""What the solver is written in: simulate.py as it is, or simulate.c or simulate.f90, compiled first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator import Experiment
from orchestrator.errors import BuildError, UsageError
from sim_clients.cache import cache_directory
from sim_clients.compiler_flags import Language, compiler_flags
from sim_clients.fortran_library import find_fortran_compiler
from sim_clients.native_library import find_c_compiler

HERE = Path(__file__).parent
PYTHON = "python"
SOURCES = {"c": "simulate.c", "fortran": "simulate.f90"}
PROGRAM = "solver"


class Solver:
    """The solver in one language.

    Args:
        language: "python", "c" or "fortran".

    Raises:
        UsageError: another language.
        ClientBuildError: there is no compiler for it, or the client does not compile.
    """

    def __init__(self, language: str) -> None:
        if language not in (PYTHON, *SOURCES):
            raise UsageError(f"solver must be one of {', '.join((PYTHON, *SOURCES))}, got {language!r}")
        self._language = language
        self._build: list[str] = []
        if language != PYTHON:
            flags = compiler_flags(Language(language))
            compiler = find_c_compiler() if language == "c" else find_fortran_compiler()
            source = str(HERE / SOURCES[language])
            self._build = [compiler, "-O2", source, *flags.compiling, *flags.linking, "-lm", "-o", PROGRAM]

    def command(self, experiment: Experiment) -> list[str | Path]:
        """Return how it is started, without arguments; a compiled one is in the run's directory.

        A preview makes no such directory, and its commands can be started by hand: there it is in the cache.
        """
        if not self._build:
            return [sys.executable, HERE / "simulate.py"]
        directory = (
            cache_directory() / "previews" / self._language if experiment.dry_run else experiment.run_dir
        )
        return [directory / PROGRAM]

    def compile_into(self, directory: Path) -> None:
        """Compile it, where it has to be.

        Raises:
            BuildError: with what the compiler said.
        """
        if not self._build:
            return
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(self._build, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"{self._build[2]} does not compile with {self._build[0]}"
            raise BuildError(message, step="compiling the solver", log_tail=done.stdout + done.stderr)
