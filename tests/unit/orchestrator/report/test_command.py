"""`penstock report`: which run is meant, and where the page goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.cli.report import report
from orchestrator.errors import RunError
from orchestrator.run_files import registry
from tests.unit.orchestrator.report.runs import job, write_run


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that this user's registry knows."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    write_run(tmp_path / "run", [job("heat_0")])
    registry().mkdir(parents=True)
    (registry() / "toy-1").symlink_to(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["toy-1", "toy", None])
def test_a_run_is_found_by_its_id(
    run_dir: Path, name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    report(name)
    assert capsys.readouterr().out == f"{run_dir}/report.html\n"
    assert "heat_0" in (run_dir / "report.html").read_text()


def test_a_directory_is_meant_before_an_id(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "toy-1", [job("heat_7")])
    report("toy-1", Path("page.html"))
    assert capsys.readouterr().out == f"{tmp_path}/page.html\n"
    assert "heat_7" in (tmp_path / "page.html").read_text()
    assert not (run_dir / "report.html").exists()


def test_a_directory_of_runs_is_no_run_and_the_newest_is_named(run_dir: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "newer", [job("heat_1")])
    os.utime(run_dir / "run.json", (1, 1))
    with pytest.raises(
        RunError, match=f"is no run, it holds 2 runs; name one: the newest is {tmp_path}/newer"
    ):
        report(str(tmp_path))


def test_a_directory_without_runs_may_be_called_as_a_run(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here" / "toy").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    report("toy")
    assert capsys.readouterr().out == f"{run_dir}/report.html\n"


def test_a_run_that_there_is_not_is_an_error(run_dir: Path) -> None:
    with pytest.raises(RunError, match="no run called 'lorenz'"):
        report("lorenz")


def test_a_record_that_is_damaged_is_an_error(run_dir: Path) -> None:
    (run_dir / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        report(str(run_dir))
    (run_dir / "run.json").write_text("{}")
    with pytest.raises(RunError, match="is damaged"):
        report(str(run_dir))
