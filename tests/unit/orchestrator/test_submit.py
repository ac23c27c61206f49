"""A job is submitted, recorded, and let go; or none is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.submit import submitted
from orchestrator.errors import SlurmError
from orchestrator.schedulers.slurm import SlurmScheduler
from orchestrator.schedulers.table import BatchJob
from tests.unit.orchestrator.array_runs import Slurm


def test_a_job_that_cannot_be_recorded_is_canceled(slurm: Slurm) -> None:
    def write(job: BatchJob) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        submitted(SlurmScheduler(), "", write)
    assert slurm.asked("scancel", "scontrol") == ["scancel 8"]


def test_a_job_that_cannot_be_canceled_either_is_named(
    slurm: Slurm, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What went wrong first is what the user is to mend."""
    slurm.does("scontrol", "echo no license >&2; exit 1")
    slurm.does("scancel", "echo not yours >&2; exit 1")
    with pytest.raises(SlurmError, match="`scontrol release 8` was refused: no license"):
        submitted(SlurmScheduler(), "", lambda job: None)
    said = capsys.readouterr().err
    assert "the job 8 is left, and is to be ended by hand: `scancel 8` was refused: not yours" in said
