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


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"pre": "module load gcc"}, r"pre='module load gcc': a list of lines"),
        ({"pre": ["a\nb"]}, r"pre: 'a\\nb' is no line"),
        ({"pre": [" "]}, "pre: ' ' is no line"),
        ({"pre": [3]}, "pre: 3 is no line"),
        ({"pre": 3}, "pre=3"),
        ({"prefix": "apptainer exec"}, "the prefix is a list: words before the command"),
        ({"prefix": [3]}, "3 in the prefix is neither text nor a Path"),
        ({"command": "sleep 1"}, "the command is a list"),
    ],
)
def test_lines_and_prefixes_that_cannot_be_are_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ApplicationError, match=named):
        Application(**{"name": "sim", "command": ["true"], **wrong})


def test_a_missing_prefix_or_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="no executable 'no-such-container' on PATH"):
        Application("sim", ["true"], prefix=["no-such-container"]).argv()
    with pytest.raises(ApplicationError, match=r"prefix: '.*image\.sif' does not exist"):
        Application("sim", ["true"], prefix=["env", tmp_path / "image.sif"]).argv()
    with pytest.raises(ApplicationError, match="solver' does not exist"):
        Application("sim", [tmp_path / "solver"], pre=["true"]).argv()


def test_a_prefix_comes_before_the_command_which_the_container_knows(tmp_path: Path) -> None:
    image = tmp_path / "image.sif"
    image.touch()
    argv = Application("sim", ["solver", "in.nc", Path("out.nc")], prefix=["env", "A=1", image]).argv()
    assert argv[0].endswith("/env")
    assert argv[1:] == ("A=1", str(image), "solver", "in.nc", str(Path("out.nc").absolute()))


def test_lines_come_first_and_the_shell_becomes_the_program() -> None:
    argv = Application("sim", ["no-such-program-yet", "a b"], pre=["module load gcc  # 12"]).argv()
    script = (
        "{ module load gcc  # 12\n} || { code=$?; "
        "echo 'penstock: this line of pre has failed: module load gcc  # 12' >&2; exit $code; }\n"
        'exec "$@"'
    )
    assert argv == ("bash", "-c", script, "bash", "no-such-program-yet", "a b")


def test_a_script_is_made_absolute_after_lines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "simulate.py").touch()
    argv = Application("sim", ["python3", "simulate.py"], pre=["true"]).argv()
    assert argv[-2:] == ("python3", str(tmp_path / "simulate.py"))
