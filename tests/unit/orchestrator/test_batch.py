"""What is asked of a scheduler, and the script it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.schedulers.base import Batch, Scheduler
from orchestrator.schedulers.pbs import PbsScheduler
from orchestrator.schedulers.slurm import SlurmScheduler
from orchestrator.schedulers.table import SCHEDULERS, find_scheduler

DATA = Path(__file__).parents[2] / "data"
DRIVER = ("/env/bin/python", "-m", "orchestrator.cli", "run", "/home/me/heat", "--set=title=two words")


def script(scheduler: Scheduler, batch: Batch) -> str:
    """Return the script of a run in a directory whose name has what needs care."""
    mine = Path("/home/me/100% mine")
    return scheduler.script("heat", batch, DRIVER, log=mine / "batch.log", working_directory=mine)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("1:00:00", 3600),
        ("120:00:00", 432000),
        ("1-0", 86400),
        ("1-12:30", 131400),
        ("2-00:00:05", 172805),
    ],
)
def test_times_are_read_as_slurm_reads_them(time: str, seconds: int) -> None:
    assert Batch(1, time).seconds == seconds


@pytest.mark.parametrize(
    "time", ["", "banana", "0", "0:00:00", "1:60", "1h", "-5", "1:00:00:00", "1.5", "UNLIMITED"]
)
def test_times_that_cannot_be_read_are_refused(time: str) -> None:
    with pytest.raises(UsageError, match="is no time: write minutes, H:MM:SS"):
        Batch(1, time)


@pytest.mark.parametrize("nodes", [0, -1])
def test_a_batch_needs_nodes(nodes: int) -> None:
    with pytest.raises(UsageError, match=f"--nodes {nodes}"):
        Batch(nodes, "5")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"extra_args": ('--comment="x"',)}, "no quotation mark"),
        ({"extra_args": ("--comment=x\n#SBATCH --nodes=9",)}, "no quotation mark"),
        ({"extra_args": ("gpu",)}, "write it as one word"),
        ({"extra_args": ("--partition=a", "--nodes=3")}, "--sbatch --nodes=3: is given by Penstock"),
        ({"extra_args": ("-N3",)}, "-N3: is given"),
        ({"extra_args": ("-t", "--time=5")}, "-t: is given"),
        ({"extra_args": ("--array=0-3",)}, "--array=0-3: is given"),
        ({"per_node": "ncpus=4"}, "--per-node ncpus=4: is for PBS"),
    ],
)
def test_what_slurm_cannot_be_asked_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        script(SlurmScheduler(), Batch(**{"nodes": 1, "time": "5", **wrong}))


def test_script_for_slurm_is_the_recorded_one() -> None:
    batch = Batch(4, "1:00:00", extra_args=("--partition=gpu", "--comment=two words"))
    assert script(SlurmScheduler(), batch) == (DATA / "sbatch.sh").read_text()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"per_node": None}, "needs --per-node ncpus=N: how many cores"),
        ({"per_node": "64"}, "--per-node '64': write it as PBS does"),
        ({"per_node": "ncpus=4 -l x"}, "write it as PBS does"),
        ({"per_node": "ngpus=4"}, "ncpus must be a number above 0"),
        ({"per_node": "ncpus=0"}, "ncpus must be a number above 0"),
        ({"per_node": "ncpus=4:mpiprocs=2"}, "mpiprocs is given by Penstock"),
        ({"extra_args": ("-lselect=9",)}, "--qsub -lselect=9: is given by Penstock"),
        ({"extra_args": ("-l filesystems=home,walltime=9",)}, "is given by Penstock"),
        ({"extra_args": ("-N x",)}, "--qsub -N x: is given"),
        ({"extra_args": ("gpu",)}, "--qsub 'gpu': write it as one word"),
    ],
)
def test_what_pbs_cannot_be_asked_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        script(PbsScheduler(), Batch(**{"nodes": 1, "time": "5", "per_node": "ncpus=4", **wrong}))


@pytest.mark.parametrize(
    ("scheduler", "name"),
    [(SlurmScheduler(), name) for name in ('a"b', "a\nb", "a\\b", "a\tb", "a\udcffb")]
    + [(PbsScheduler(), name) for name in ('a"b', "a\nb", "a\\b", "a:b")],
)
def test_a_path_that_a_scheduler_would_misread_is_refused(scheduler: Scheduler, name: str) -> None:
    per_node = "ncpus=4" if scheduler.name == "pbs" else None
    with pytest.raises(UsageError) as caught:
        scheduler.script(
            "heat",
            Batch(1, "5", per_node),
            DRIVER,
            log=Path("/home/me", name, "batch.log"),
            working_directory=Path("/home/me"),
        )
    path = f"/home/me/{name}/batch.log"
    told = f"the path {path!r} has {name[1]!r} in it, which {scheduler.title} cannot be given"
    assert str(caught.value).startswith(told)


def test_script_for_pbs_is_the_recorded_one() -> None:
    batch = Batch(4, "1-0:30", "ncpus=64:ngpus=4", ("-q prod", "-l filesystems=home"))
    assert script(PbsScheduler(), batch) == (DATA / "qsub.sh").read_text()


def test_schedulers_are_found_by_their_names() -> None:
    assert all(find_scheduler(name).name == name for name in SCHEDULERS)
    with pytest.raises(UsageError, match="no scheduler 'lsf'; there are: slurm, pbs"):
        find_scheduler("lsf")
