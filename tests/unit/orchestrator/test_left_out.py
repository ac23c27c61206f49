"""Runs of which nothing can be told: whoever asks hears it, and a script by the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from orchestrator.cli.runs import ps
from orchestrator.cli.stop import stop
from orchestrator.errors import RunError
from orchestrator.record import find_run
from orchestrator.run_files import RunFiles
from tests.unit.orchestrator.array_runs import Slurm, array_run, tell


@pytest.fixture
def unknown(slurm: Slurm, tmp_path: Path) -> RunFiles:
    """A run whose Slurm cannot be asked."""
    slurm.does("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    return array_run(tmp_path / "run")


def ended(directory: Path) -> RunFiles:
    files = array_run(directory)
    for name in ("m_0", "m_1", "m_2"):
        tell(files, name, "completed")
    return files


def test_ps_ends_with_1(unknown: RunFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        ps()
    assert caught.value.exit_code == 1
    out, said = capsys.readouterr()
    assert out == "no other run is active\n"
    assert f"Unable to contact slurm controller; the run {unknown.run_id} is left out\n" in said
    other = ended(tmp_path / "other")
    with pytest.raises(typer.Exit):
        ps(everything=True, as_json=True)
    assert [run["run"] for run in json.loads(capsys.readouterr().out)] == [other.run_id]


def test_a_damaged_record_is_left_out_too(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = array_run(tmp_path / "run", jobs=3)
    with pytest.raises(typer.Exit):
        ps()
    assert (
        f"the run {files.run_id} is left out. If nothing of it runs, remove its directory"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("everything", [False, True])
def test_stop_does_not_say_that_all_is_stopped(
    unknown: RunFiles, capsys: pytest.CaptureFixture[str], everything: bool
) -> None:
    with pytest.raises(RunError, match=f"these may still run, .*: {unknown.run_id}"):
        stop(everything=everything)
    assert capsys.readouterr().out == ""


def test_stop_still_stops_the_others(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost, damaged = array_run(tmp_path / "lost"), array_run(tmp_path / "run", jobs=3)
    with pytest.raises(RunError, match=f"these may still run, .*: {damaged.run_id}"):
        stop()
    assert f"cleaned up {lost.run_id}" in capsys.readouterr().out


def test_a_run_is_stopped_whatever_another_is(
    unknown: RunFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ended(tmp_path / "other")
    stop(other.run_id)
    assert capsys.readouterr().out == f"{other.run_id} has ended already: completed\n"


def test_who_asks_for_it_hears_that_nothing_can_be_told(unknown: RunFiles, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"nothing can be told of the run {unknown.run_id}"):
        find_run(unknown.run_id[:-3])
    other = ended(tmp_path / "other")
    with pytest.raises(RunError, match="'toy' is the beginning of: ") as caught:
        find_run("toy")
    assert unknown.run_id in str(caught.value) and other.run_id in str(caught.value)
    assert find_run(other.run_id).run_id == other.run_id


def test_a_scheduler_that_cannot_be_asked_is_asked_once(
    slurm: Slurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time may take a minute."""
    slurm.does("squeue", "exit 1")
    for name in ("one", "two"):
        array_run(tmp_path / name, array=None)
    with pytest.raises(typer.Exit):
        ps()
    assert capsys.readouterr().err.count("is left out") == 2
    assert len(slurm.asked("squeue")) == 1
