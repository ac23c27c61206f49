"""Input files: what describes them, what is found wrong before a program starts, and how they are laid."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Application, Ensemble, InputFiles
from orchestrator.errors import ApplicationError, InputFileError, UsageError
from orchestrator.laying import by_hand, lay
from orchestrator.sources import PART, Input, Sources


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files to take, in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.nml").write_text("&run\n nu = ;nu;, n = ;n;\n name = ';nu;'\n/\n")
    (tmp_path / "mesh.dat").write_bytes(b"\x00mesh\xff")
    (tmp_path / "case" / "inner").mkdir(parents=True)
    (tmp_path / "case" / "inner" / "a.txt").write_text("nu ;nu;")
    (tmp_path / "case" / "b.txt").write_text("plain; text\n")
    (tmp_path / "case" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "case" / "run.sh").chmod(0o555)
    return tmp_path


PARAMETERS = {"nu": 0.1, "n": 64}


def looked_at(files: InputFiles, directory: Path | None = None, **facts: Any) -> tuple[Input, ...]:
    application = Application("a", ["true"], files=files, **{"parameters": PARAMETERS, **facts})
    return Sources().inputs(application, directory or Path("runs/a"))


def laid(files: InputFiles, **facts: Any) -> Path:
    directory = Path("runs/a")
    directory.mkdir(parents=True, exist_ok=True)
    lay(looked_at(files, directory, **facts), directory)
    return directory


def tree(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes().decode("latin-1") for path in sorted(files)}


def test_files_are_copied_linked_and_configured(made: Path) -> None:
    directory = laid(InputFiles(copied=["mesh.dat"], linked=[made / "case"], configured=["run.nml"]))
    assert (directory / "run.nml").read_text() == "&run\n nu = 0.1, n = 64\n name = '0.1'\n/\n"
    assert (directory / "mesh.dat").read_bytes() == b"\x00mesh\xff"
    assert (directory / "case").readlink() == made / "case"
    (directory / "mesh.dat").write_text("its own")
    assert (made / "mesh.dat").read_bytes() == b"\x00mesh\xff"


def test_directories_are_copied_and_configured(made: Path) -> None:
    (made / "case" / "link").symlink_to("b.txt")
    files = InputFiles(copied={"as/it/is": "case"}, configured={"case": "case"})
    directory = laid(files, parameters={"nu": 2})
    assert tree(directory / "as/it/is")["inner/a.txt"] == "nu ;nu;"
    assert tree(directory / "case")["inner/a.txt"] == "nu 2"
    for each in ("as/it/is", "case"):
        assert tree(directory / each)["b.txt"] == tree(directory / each)["link"] == "plain; text\n"
        assert not (directory / each / "link").is_symlink()
        assert os.access(directory / each / "run.sh", os.X_OK)
        assert (directory / each / "run.sh").stat().st_mode & 0o200  # the program's own, to write to


def test_what_is_there_stays(made: Path) -> None:
    files = InputFiles(copied=["mesh.dat", "case"], configured=["run.nml"])
    directory = laid(files)
    (directory / "mesh.dat").write_text("what the program wrote")
    (directory / "run.nml").write_text("changed")
    (directory / "case" / "b.txt").unlink()
    laid(files)
    assert (directory / "mesh.dat").read_text() == "what the program wrote"
    assert (directory / "run.nml").read_text() == "changed"
    assert not (directory / "case" / "b.txt").exists()


def test_what_a_killed_driver_has_half_laid_is_laid_again(made: Path) -> None:
    directory = made / "runs" / "a"
    (directory / PART).mkdir(parents=True)
    (directory / PART / "half").touch()
    assert laid(InputFiles(copied=["mesh.dat", "case"])).samefile(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["case", "mesh.dat"]
    assert (directory / "mesh.dat").read_bytes() == b"\x00mesh\xff" and len(tree(directory / "case")) == 3


def test_no_name_is_too_long_or_taken(made: Path) -> None:
    long = "x" * 255
    directory = laid(
        InputFiles(copied={long: "mesh.dat", ".run.nml.part": "mesh.dat"}, configured=["run.nml"])
    )
    assert sorted(path.name for path in directory.iterdir()) == [".run.nml.part", "run.nml", long]


def test_what_has_come_to_a_configured_directory_since_is_left_out(made: Path) -> None:
    """It would have its tags in it."""
    directory = made / "runs" / "a"
    (made / "case" / "empty").mkdir()
    inputs = looked_at(InputFiles(configured=["case"]), directory, on_command_line=["n"])
    (made / "case" / "later.txt").write_text(";nu;")
    directory.mkdir(parents=True)
    lay(inputs, directory)
    assert set(tree(directory / "case")) == {"b.txt", "inner/a.txt", "run.sh"}
    assert (directory / "case" / "empty").is_dir()
    assert (directory / "case" / "run.sh").stat().st_mode & 0o777 == 0o755


def test_a_link_stays_although_what_it_leads_to_has_gone(made: Path) -> None:
    directory = laid(InputFiles(linked=["mesh.dat"]))
    inputs = looked_at(InputFiles(linked=["mesh.dat"]))
    (made / "mesh.dat").unlink()
    lay(inputs, directory)
    assert (directory / "mesh.dat").is_symlink()


@pytest.mark.parametrize(
    ("files", "file", "line", "parameter", "said"),
    [
        (InputFiles(copied=["none"]), "none", None, None, "none' does not exist"),
        (InputFiles(linked=["none"]), "none", None, None, "none' does not exist"),
        (InputFiles(configured=["mesh.dat"]), "mesh.dat", None, None, "is no text, .* copy it"),
        (
            InputFiles(configured=["run.nml"], tag="@"),
            "run.nml",
            None,
            "nu",
            "'nu' is used nowhere: no @nu@ in",
        ),
        (InputFiles(configured=["case"]), "case", None, "n", "'n' is used nowhere: no ;n; in"),
        (InputFiles(copied=["pipe"]), "pipe", None, None, "pipe' cannot be copied: it is no file"),
        (InputFiles(copied=["round"]), "round/up", None, None, "it leads to where it is"),
        (InputFiles(copied=["dead"]), "dead/link", None, None, "it leads nowhere"),
        (InputFiles(copied={"all": "."}), ".", None, None, "the directory of the run is in it"),
        (InputFiles(copied={"log.txt": "mesh.dat"}), "mesh.dat", None, None, "has a 'log.txt' of its own"),
        (InputFiles(copied={"colocated/x": "mesh.dat"}), "mesh.dat", None, None, "of its own"),
        (InputFiles(copied={PART: "mesh.dat"}), "mesh.dat", None, None, "of its own"),
        (InputFiles(copied=["y" * 256]), "y" * 256, None, None, "cannot be read: .*too long"),
    ],
)
def test_what_cannot_be_is_named(
    made: Path, files: InputFiles, file: str, line: int | None, parameter: str | None, said: str
) -> None:
    os.mkfifo("pipe")
    (made / "round").mkdir()
    (made / "round" / "up").symlink_to(".")
    (made / "dead").mkdir()
    (made / "dead" / "link").symlink_to("nothing")
    with pytest.raises(InputFileError, match=said) as caught:
        looked_at(files, made / "runs" / "a")
    error = caught.value
    assert (error.name, error.file, error.line, error.parameter) == ("a", made / file, line, parameter)


def test_a_tag_without_a_value_is_named_with_its_line(made: Path) -> None:
    with pytest.raises(
        InputFileError, match=r"run.nml, line 2: .*'n' for ;n;; there is: nu. .*tag='@'"
    ) as caught:
        looked_at(InputFiles(configured=["run.nml"]), parameters={"nu": 1})
    assert (caught.value.file, caught.value.line, caught.value.parameter) == (made / "run.nml", 2, "n")


def test_a_file_that_cannot_be_read_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    with pytest.raises(InputFileError, match=r"chmod \+r .*mesh.dat"):
        looked_at(InputFiles(copied=["mesh.dat"]))


@pytest.mark.parametrize("closed", ["exists", "iterdir"])
def test_a_directory_that_cannot_be_searched_is_named(
    made: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, closed, refuse)  # root may search all
    with pytest.raises(InputFileError, match=r"case' cannot be read: .*Permission denied"):
        looked_at(InputFiles(copied=["case"]))


def test_parameters_on_the_command_line_need_no_tag(made: Path) -> None:
    looked_at(InputFiles(configured=["case"]), on_command_line=["n"])
    looked_at(InputFiles(copied=["case"]))  # nothing is configured: they are for the record


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"copied": "mesh.dat"}, "a list of paths"),
        ({"copied": Path("mesh.dat")}, "a list of paths"),
        ({"linked": 3}, "a list of paths"),
        ({"copied": [3]}, "3 is no path"),
        ({"copied": [""]}, "is no path"),
        ({"copied": ["a\0"]}, "is no path"),
        ({"copied": ["a\ud800"]}, "is no path"),
        ({"copied": {"a\ud800": "x"}}, "is no name in"),
        ({"copied": ["a/x", "b/x"]}, "two called 'x'"),
        ({"copied": ["a/x"], "linked": ["b/x"]}, "two called 'x'"),
        ({"copied": {"../x": "x"}}, "'../x' is no name in"),
        ({"copied": {"/x": "x"}}, "'/x' is no name in"),
        ({"copied": {"": "x"}}, "'' is no name in"),
        ({"copied": {3: "x"}}, "3 is no name in"),
        ({"copied": ["/"]}, "'' is no name in"),
        ({"copied": {"a": "x"}, "configured": {"a/b": "x"}}, "'a/b' would be in 'a'"),
        ({"configured": ["x"], "tag": "a"}, "tag='a'"),
        ({"configured": ["x"], "tag": ""}, "tag=''"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        InputFiles(**facts)


def test_a_copy_of_a_description_is_the_same() -> None:
    files = InputFiles(copied=["a/x"], configured={"y": "b/z"}, tag="@")
    assert replace(files) == files and replace(files, tag="%") != files
    assert not InputFiles() and files


def test_files_and_parameters_of_an_application_are_checked() -> None:
    with pytest.raises(ApplicationError, match=r"InputFiles.+ is needed"):
        Application("a", ["true"], files=["mesh.dat"])  # type: ignore[arg-type]
    with pytest.raises(ApplicationError, match=r"InputFiles.+ is needed"):
        Ensemble("a", ["true"], files=["mesh.dat"])  # type: ignore[arg-type]
    with pytest.raises(ApplicationError, match="'nu'=None is neither"):
        Application("a", ["true"], parameters={"nu": None})  # type: ignore[dict-item]
    with pytest.raises(ApplicationError, match=r"'nu'='\\ud800' cannot be given"):
        Application("a", ["true"], parameters={"nu": "\ud800"})
    with pytest.raises(ApplicationError, match="in the command is neither"):
        Application("a", ["true", "\ud800"])


def test_files_of_a_member_that_get_the_same_name_are_refused() -> None:
    same = InputFiles(configured={"{x}.nml": "a", "{y}.nml": "b"})
    with pytest.raises(UsageError, match=r"two called '1\.nml'"):
        Ensemble("m", ["true"], grid={"x": [1], "y": [1]}, files=same).members()
    apart = InputFiles(copied={"{x}": "a"}, linked={"{y}": "b"})
    with pytest.raises(UsageError, match="two called '1'"):
        Ensemble("m", ["true"], grid={"x": [1], "y": [1]}, files=apart).members()
    above = InputFiles(copied={"{x}": "a"})
    with pytest.raises(UsageError, match=r"'\.\./b' is no name"):
        Ensemble("m", ["true"], grid={"x": ["../b"]}, files=above).members()


def test_members_have_their_parameters_in_files_and_paths(made: Path) -> None:
    (made / "mesh_64.dat").touch()
    files = InputFiles(copied={"mesh.dat": "mesh_{n}.dat"}, configured={"case_{scheme}": "case"})
    grid = {"nu": [1, 2], "n": [64], "scheme": ["weno"]}
    members = Ensemble("m", ["true"], grid=grid, files=files).members()
    sources = Sources()
    inputs = [sources.inputs(member, made / "runs" / member.name) for member in members]
    assert [each.target for each in inputs[1]] == ["mesh.dat", "case_weno"]
    assert inputs[1][0].source == made / "mesh_64.dat" and inputs[1][1].values["nu"] == "2"
    assert inputs[0][1].configured is inputs[1][1].configured  # read once


def test_a_parameter_of_an_ensemble_that_is_used_nowhere_is_named(made: Path) -> None:
    files = InputFiles(configured=["run.nml"])
    (member,) = Ensemble("m", ["true"], grid={"nu": [1], "n": [2], "x": [3]}, files=files).members()
    with pytest.raises(InputFileError, match="'m_0': the parameter 'x' is used nowhere") as caught:
        Sources().inputs(member, made / "runs" / "m_0")
    assert caught.value.parameter == "x"


def test_a_path_as_a_value_leads_there_from_anywhere(made: Path) -> None:
    directory = laid(InputFiles(configured=["case"]), parameters={"nu": Path("mesh.dat")})
    assert tree(directory)["case/inner/a.txt"] == f"nu {made / 'mesh.dat'}"


def test_lines_of_shell_lay_the_same(made: Path) -> None:
    (made / "odd.txt").write_text("a [nu] /$^nu/$^ \\ /$^a.b/$^\n")
    inputs = looked_at(
        InputFiles(
            copied={"to/mesh it's.dat": "mesh.dat"},
            linked=["mesh.dat"],
            configured=["odd.txt", "case"],
            tag="/$^",
        ),
        parameters={"nu": "&/\\1 it's\n2", "a.b": 1},
    )
    by_us, shell = made / "us", made / "shell"
    for directory in (by_us, shell):
        directory.mkdir()
    lay(inputs, by_us)
    lines = [line for each in inputs for line in by_hand(each)]
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=shell, check=True)
    assert tree(shell) == tree(by_us) and (shell / "mesh.dat").is_symlink()
    assert "it's" in tree(by_us)["odd.txt"]


def test_a_record_tells_what_was_configured_from_which_text(made: Path) -> None:
    def told() -> dict[str, str]:
        (each,) = looked_at(InputFiles(configured=["case"]), on_command_line=["n"])
        facts: dict[str, str] = json.loads(json.dumps(each.as_json()))
        return facts

    before = told()
    assert before["how"] == "configured" and before["target"] == "case" and before == told()
    (made / "case" / "b.txt").write_text("other")
    assert before["checksum"] != told()["checksum"]
