"""What `penstock ps` shows, whatever a run is called and a scheduler says."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.runs import ps
from tests.unit.orchestrator.array_runs import Slurm, array_run


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal wide enough for a table."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize("name", ["d[/foo]", "d[bold]x", "d:warning:", "d\\", "d\\[x]"])
def test_a_directory_is_shown_as_it_is_called(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    files = array_run(tmp_path / name)
    slurm.does("squeue", "echo '0|PENDING|at [/x] o[bold]clock'; echo '1|PENDING|None'")
    ps()
    shown = capsys.readouterr().out
    assert f"{files.run_id}  queued  {tmp_path}/{name}\n" in shown
    assert "job 7 is pending: at [/x] o[bold]clock\n" in shown


def test_what_no_terminal_can_show_is_escaped(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array_run(tmp_path / "a\x1b[31m\nb\udcff")
    slurm.does("squeue", "echo '0|PENDING|None'; echo '1|PENDING|None'")
    ps()
    assert f"{tmp_path}/a\\x1b[31m\\nb\\udcff\n" in capsys.readouterr().out
