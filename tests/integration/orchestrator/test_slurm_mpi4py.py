"""Ranks of mpi4py over Debian's MPICH on two hosts of Slurm, two on each, with a database beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Application, Experiment, LaunchOptions, Resources, colocate
from tests.integration.orchestrator.command import penstock
from tests.integration.orchestrator.conftest import ROOT
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, until
from tests.integration.orchestrator.test_slurm_colocated import left_on

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(shutil.which("mpicc.mpich") is None, reason="there is no mpicc.mpich (apt: mpich)"),
]
PMI2 = LaunchOptions("slurm", extra_args=("--mpi=pmi2",))
WORLD = """
import os

import mpi4py

mpi4py.rc.finalize = False  # in MPICH 4.0 a rank may wait there for ever (pmodels/mpich, pull request 6596)
from mpi4py import MPI

world = MPI.COMM_WORLD
here = MPI.Get_processor_name()


def tell(line):
    os.write(1, f"{line}\\n".encode())  # in one piece: other ranks write to the log too
"""
SOLVER = (
    WORLD
    + """
import numpy as np

from sim_clients import connect

total = world.allreduce(world.rank)
client = connect()
assert client.rank == world.rank
client.put_snapshot(0, {"u": np.full(3, world.rank, np.float32), "total": np.array([total])})
world.barrier()  # all of them are there

stored = [client.get_snapshot(position) for position in range(client.announced())]
neighbour = stored[0] if stored[1].rank == world.rank else stored[1]
assert neighbour.fields["u"].tolist() == [neighbour.rank] * 3
assert neighbour.fields["total"].tolist() == [total]
ranks = sorted(snapshot.rank for snapshot in stored)
tell(f"rank {world.rank} of {world.size} on {here}: sum {total}, beside {neighbour.rank}, stored {ranks}")
world.barrier()  # nobody leaves before all have read
"""
)


@pytest.fixture(scope="module")
def mpich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which mpi4py's wheel takes Debian's MPICH, whose library has a name of its own."""
    found = subprocess.run(
        ["mpicc.mpich", "-print-file-name=libmpich.so.12"], check=True, capture_output=True, text=True
    ).stdout.strip()
    directory = tmp_path_factory.mktemp("mpich")
    (directory / "libmpi.so.12").symlink_to(Path(found).resolve())
    return {"LD_LIBRARY_PATH": str(directory), "MPI4PY_MPIABI": "mpich"}


def program(path: Path, text: str, environment: dict[str, str]) -> Application:
    """Return a program of Python with two ranks on each of two hosts."""
    path.write_text(text)
    command = [sys.executable, path]
    resources = Resources(nodes=2, ranks_per_node=2)
    return Application("solver", command, environment=environment, resources=resources)


def test_ranks_store_beside_their_neighbours(
    allocation: SlurmNodes, mpich: dict[str, str], tmp_path: Path
) -> None:
    with Experiment("beside", PMI2) as exp:
        job = exp.start(colocate(program(tmp_path / "solver.py", SOLVER, mpich)))
        exp.wait(timeout_s=90)
    assert sorted(line for line in job.log.read_text().splitlines() if line.startswith("rank")) == [
        "rank 0 of 4 on n1: sum 6, beside 1, stored [0, 1]",
        "rank 1 of 4 on n1: sum 6, beside 0, stored [0, 1]",
        "rank 2 of 4 on n2: sum 6, beside 3, stored [2, 3]",
        "rank 3 of 4 on n2: sum 6, beside 2, stored [2, 3]",
    ]
    assert sorted(path.name.rpartition("_")[2] for path in job.directory.glob("c[0-9]*")) == ["n1", "n2"]
    until(lambda: not allocation.steps())
    assert (left_on(allocation, "n1"), left_on(allocation, "n2")) == ([], [])


def test_the_experiment_of_the_page_on_slurm_runs(
    slurm: SlurmNodes, mpich: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "slurm.md").read_text()
    (tmp_path / "ranks").mkdir()
    for name, text in re.findall(r"```python\n(?=# ranks/(\w+\.py))(.*?)```", page, re.DOTALL):
        (tmp_path / "ranks" / name).write_text(text)
    for variable, text in mpich.items():
        monkeypatch.setenv(variable, text)
    done = penstock("run", "ranks", "--on", "slurm", "--nodes", "2", "--time", "10")
    assert done.returncode == 0, done.stderr
    said = penstock("logs", "batch", "-f").stdout
    for rank in range(4):
        assert f"rank {rank} of 4, sum 6: 2 snapshots on this node" in said
