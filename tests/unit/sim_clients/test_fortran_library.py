"""Which compilers make the Fortran module, and what is said where they cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim_clients import fortran_library
from sim_clients.errors import ClientBuildError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler but those of the test, an empty cache, and a C library that need not be compiled."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/bin")
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fortran_library, "built_library", lambda: tmp_path / "libpenstock.so")
    monkeypatch.setattr(fortran_library, "COMPILERS", ("some-fortran",))
    monkeypatch.delenv("FC", raising=False)


def put_compiler(directory: Path, name: str, version: str, *lines: str) -> Path:
    """Write a compiler that knows its version, and otherwise does what the lines say."""
    program = directory / "bin" / name
    said = f'if [ "$1" = --version ]; then echo "{version}"; exit; fi'
    program.write_text("\n".join(["#!/bin/sh", said, *lines, ""]))
    program.chmod(0o755)
    return program


def test_no_compiler() -> None:
    with pytest.raises(ClientBuildError, match="none of some-fortran is on PATH: install gfortran"):
        fortran_library.built_fortran_library()


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FC", "gone-fortran")
    with pytest.raises(ClientBuildError, match="none of gone-fortran is on PATH"):
        fortran_library.built_fortran_library()


def test_a_compiler_of_another_family(tmp_path: Path) -> None:
    put_compiler(tmp_path, "some-fortran", "Some Fortran 1.0")
    with pytest.raises(ClientBuildError, match="some-fortran is none of GNU Fortran, ifx, flang, nvfortran"):
        fortran_library.built_fortran_library()


def test_the_c_compiler_of_its_family_is_missing(tmp_path: Path) -> None:
    put_compiler(tmp_path, "some-fortran", "ifx (IFX) 2025.0")
    with pytest.raises(ClientBuildError, match="some-fortran needs icx"):
        fortran_library.built_fortran_library()


def test_a_compilation_that_fails_is_shown_and_leaves_nothing(tmp_path: Path) -> None:
    put_compiler(tmp_path, "some-fortran", "GNU Fortran 99", 'echo "it is too hot" >&2; exit 3')
    with pytest.raises(ClientBuildError, match=r"(?s)ended with exit code 3.*it is too hot"):
        fortran_library.built_fortran_library()
    assert not any((tmp_path / "cache" / "clients").iterdir())


def test_a_compiler_works_once_and_another_version_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    makes = [
        f'echo "$*" >> {log}',
        'for f in "$@"; do case $f in *.f90|*.c) f=${f##*/}; touch "${f%.*}.o";; esac; done',
        "touch libpenstock_fortran.so",
    ]
    put_compiler(tmp_path, "some-fortran", "GNU Fortran 12", *makes)
    first = fortran_library.built_fortran_library()
    steps = len(log.read_text().splitlines())
    assert (first / fortran_library.LIBRARY_NAME).exists() and steps == 4
    assert fortran_library.built_fortran_library() == first
    assert len(log.read_text().splitlines()) == steps
    put_compiler(tmp_path, "some-fortran", "GNU Fortran 13", *makes)
    assert fortran_library.built_fortran_library() != first


def test_a_c_compiler_of_the_same_number_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    makes = [
        f'echo "$0" >> {log}',
        'for f in "$@"; do case $f in *.f90|*.c) f=${f##*/}; touch "${f%.*}.o";; esac; done',
    ]
    put_compiler(tmp_path, "flang-22", "flang version 22.1.8", *makes)
    put_compiler(tmp_path, "clang-22", "clang", *makes)
    put_compiler(tmp_path, "clang-14", "clang", *makes)
    monkeypatch.setenv("FC", "flang-22")
    fortran_library.built_fortran_library()
    assert Path(log.read_text().splitlines()[0]).name == "clang-22"
