"""Descriptions of programs, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator import Application
from orchestrator.errors import ApplicationError


def test_missing_executable_is_named() -> None:
    with pytest.raises(ApplicationError, match="no-such-program") as caught:
        Application("sim", ["no-such-program"]).argv()
    assert caught.value.name == "sim"


def test_missing_executable_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="solver' does not exist"):
        Application("sim", [tmp_path / "solver"]).argv()


def test_file_that_is_not_executable_is_named_with_a_fix(tmp_path: Path) -> None:
    solver = tmp_path / "solver"
    solver.write_text("#!/bin/sh\n")
    with pytest.raises(ApplicationError, match=r"solver' is not executable; try `chmod \+x"):
        Application("sim", [solver]).argv()


def test_directory_is_no_executable(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="not executable"):
        Application("sim", [tmp_path]).argv()


def test_missing_script_is_named() -> None:
    with pytest.raises(ApplicationError, match=r"the script .*nowhere\.py' does not exist"):
        Application("sim", ["python3", "nowhere.py"]).argv()


def test_paths_become_absolute_and_text_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "simulate.py").touch()
    argv = Application("sim", ["python3", "simulate.py", Path("input.nc"), "input.nc"]).argv()
    assert argv[1:] == (str(tmp_path / "simulate.py"), str(tmp_path / "input.nc"), "input.nc")


def test_symlinked_executable_is_not_resolved(tmp_path: Path) -> None:
    link = tmp_path / "solver"
    link.symlink_to("/bin/sh")
    assert Application("sim", [link]).argv() == (str(link),)


@pytest.mark.parametrize(
    "name", ["", "a b", "../up", ".hidden", "a/b", "x" * 101, "database", "database_0", "run.json"]
)
def test_names_that_cannot_be_directories_are_refused(name: str) -> None:
    with pytest.raises(ApplicationError):
        Application(name, ["true"])


@pytest.mark.parametrize("command", ["python simulate.py", [], ["python", 3], ["python", "a\0b"]])
def test_command_must_be_a_list_of_text_and_paths(command: str) -> None:
    with pytest.raises(ApplicationError):
        Application("sim", command)


@pytest.mark.parametrize("wrong", [{"X": 3}, {3: "x"}, {"X=Y": "3"}, {"": "3"}, {"X": "a\0b"}, {"X\0": "a"}])
def test_environment_must_be_text_that_a_system_takes(wrong: Any) -> None:
    with pytest.raises(ApplicationError, match="environment"):
        Application("sim", ["true"], environment=wrong)
