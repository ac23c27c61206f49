"""What tests of several files need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.orchestrator.array_runs import Slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """Stand-ins that come before all others on PATH; and a state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Slurm(tmp_path / "bin")
