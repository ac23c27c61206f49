"""The launchers of this machine, for tests: local, mpi with each mpiexec there is, slurm in an allocation."""

from __future__ import annotations

import os
import shutil

import pytest

from orchestrator import LaunchOptions

MPIEXECS = {
    "mpich": "mpiexec.mpich",
    "openmpi": "mpiexec.openmpi",
    **{path: path for path in os.environ.get("PENSTOCK_TEST_MPIEXECS", "").split(":") if path},
}


def options_for(case: str) -> LaunchOptions:
    """Return how a launcher of these tests is chosen; skip where it is not installed, but not in CI."""
    if case not in MPIEXECS:
        return LaunchOptions(case)
    if shutil.which(MPIEXECS[case]) is None:
        reason = f"there is no {MPIEXECS[case]} (Debian: apt install mpich openmpi-bin)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return LaunchOptions("mpi", mpiexec=MPIEXECS[case])
