"""What is asked of a batch system, and the script it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import Batch, batch_script
from orchestrator.errors import UsageError

GOLDEN = Path(__file__).parents[2] / "data" / "batch.sh"


@pytest.mark.parametrize("time", ["90", "1:30", "1:00:00", "120:00:00", "1-0", "1-12:30", "2-00:00:00"])
def test_times_that_slurm_reads(time: str) -> None:
    assert Batch(1, time).time == time


@pytest.mark.parametrize(
    "time", ["", "banana", "0", "0:00:00", "1:60", "1h", "-5", "1:00:00:00", "1.5", "UNLIMITED"]
)
def test_times_that_cannot_be_read_are_refused(time: str) -> None:
    with pytest.raises(UsageError, match="is no time: write minutes, H:MM:SS"):
        Batch(1, time)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"nodes": 0}, "--nodes 0"),
        ({"nodes": -1}, "--nodes -1"),
        ({"extra_args": ('--comment="x"',)}, "no quotation mark"),
        ({"extra_args": ("--comment=x\n#SBATCH --nodes=9",)}, "no quotation mark"),
        ({"extra_args": ("gpu",)}, "write it as one word"),
        ({"extra_args": ("--partition=a", "--nodes=3")}, "--nodes=3: is given by Penstock"),
        ({"extra_args": ("-N3", "-t", "--time=5")}, "-t: is given"),
    ],
)
def test_what_cannot_be_right_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Batch(**{"nodes": 1, "time": "5", **wrong})


def test_script_is_the_recorded_one() -> None:
    driver = ("/env/bin/python", "-m", "orchestrator.cli", "run", "/home/me/heat", "--set=title=two words")
    text = batch_script(
        "heat",
        Batch(4, "1:00:00", ("--partition=gpu", "--comment=two words")),
        driver,
        log=Path("/home/me/100% mine/batch.log"),
        working_directory=Path("/home/me/100% mine"),
    )
    assert text == GOLDEN.read_text()
