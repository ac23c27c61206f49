"""The launchers of this machine, for tests: local, mpi and pbs with each mpiexec there is, slurm."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import LaunchOptions
from tests.integration.orchestrator import pals

MPIEXECS = {
    "mpich": "mpiexec.mpich",
    "openmpi": "mpiexec.openmpi",
    **{path: path for path in os.environ.get("PENSTOCK_TEST_MPIEXECS", "").split(":") if path},
}


OWN_SMARTSIM = Path(__file__).parents[3] / ".venv-smartsim" / "bin" / "python"
IN_PBS = {f"pbs-{name}": name for name in (*MPIEXECS, "pals")}


def options_for(case: str, directory: Path) -> LaunchOptions:
    """Return how a launcher of these tests is chosen; skip where it is not installed, but not in CI.

    Args:
        case: which.
        directory: for stand-ins.
    """
    if case == "pals":
        return LaunchOptions("mpi", mpiexec=stand_in_for_pals(directory))
    if case == "smartsim":
        return LaunchOptions("smartsim", scheduler="local")
    if case in IN_PBS:
        return replace(options_for(IN_PBS[case], directory), launcher="pbs")
    if case not in MPIEXECS:
        return LaunchOptions(case)
    if shutil.which(MPIEXECS[case]) is None:
        reason = f"there is no {MPIEXECS[case]} (Debian: apt install mpich openmpi-bin)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return LaunchOptions("mpi", mpiexec=MPIEXECS[case])


def smartsim_python() -> str:
    """Return a Python that has SmartSim; skip where there is none, but not in CI."""
    for python in (os.environ.get("PENSTOCK_SMARTSIM", ""), str(OWN_SMARTSIM)):
        if Path(python).is_file():
            return python
    reason = "no SmartSim: make smartsim, or name a Python that has it in PENSTOCK_SMARTSIM"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def stand_in_for_pals(directory: Path) -> Path:
    """Return an mpiexec that behaves like that of Cray PALS as far as is known, on this host."""
    program = directory / "mpiexec"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{pals.__file__}" "$@"\n')
    program.chmod(0o755)
    return program
