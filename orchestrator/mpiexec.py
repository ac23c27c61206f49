"""Finds an mpiexec, and tells whose it is: MPICH, Open MPI and Cray PALS take different flags."""

from __future__ import annotations

import enum
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import MpiError

NAMES = ("mpiexec", "mpirun")
TIMEOUT_S = 30.0


class Flavour(str, enum.Enum):
    """Whose flags an mpiexec takes."""

    MPICH = "mpich"
    OPEN_MPI = "openmpi"
    PALS = "pals"


SAID = {
    Flavour.MPICH: re.compile(r"HYDRA build details:\s+Version:\s+(\S+)"),
    Flavour.OPEN_MPI: re.compile(r"\((?:OpenRTE|Open MPI|PRRTE)\) (\S+)"),
    Flavour.PALS: re.compile(r"(?:PALS|mpiexec) version (\S+)"),
}


@dataclass(frozen=True)
class Mpiexec:
    """An mpiexec that Penstock can use."""

    executable: str
    flavour: Flavour
    version: str


def find_mpiexec(given: str | Path | None = None) -> Mpiexec:
    """Return the mpiexec that was given, by its path or its name on PATH, or the first on PATH.

    Raises:
        MpiError: there is none, or it is not known whose it is.
    """
    names = (str(given),) if given is not None else NAMES
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise MpiError(
            f"there is no {' or '.join(names)} on PATH: install MPICH or Open MPI, "
            "or say where it is: --mpiexec PATH",
            executable=names[0],
        )
    try:
        asked = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MpiError(f"{found} --version: {error}", executable=found) from error
    return recognise(found, asked.stdout + asked.stderr)


def recognise(executable: str, said: str) -> Mpiexec:
    """Return whose mpiexec it is, from what it says when asked for its version.

    Raises:
        MpiError: it cannot be told.
    """
    for flavour, pattern in SAID.items():
        if (match := pattern.search(said)) is not None:
            return Mpiexec(executable, flavour, match[1])
    if "pals" in Path(executable).resolve().parts:  # where Cray installs it, whatever it says
        return Mpiexec(executable, Flavour.PALS, " ".join(said.split())[:20])
    raise MpiError(
        f"it cannot be told whose mpiexec {executable} is; known are those of MPICH, Open MPI and Cray PALS. "
        f"It says: {said.strip()[:200]!r}",
        executable=executable,
        said=said,
    )
