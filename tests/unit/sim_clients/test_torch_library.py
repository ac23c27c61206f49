"""What is said where the library on libtorch cannot be compiled."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sim_clients import torch_library
from sim_clients.errors import ClientBuildError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No compiler but that of the test, an empty cache, and a C library that need not be compiled."""
    monkeypatch.setenv("PENSTOCK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch_library, "built_library", lambda: tmp_path / "libpenstock.so")


def compiler(directory: Path, script: str) -> str:
    program = directory / "some-c++"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClientBuildError, match=r"run by torch, and .* has none: pip install torch"):
        torch_library.built_torch_library()


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "gone-c++")
    with pytest.raises(ClientBuildError, match=r"none of gone-c\+\+ is on PATH: install g\+\+"):
        torch_library.built_torch_library()


def test_a_compilation_that_fails_is_shown_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch_library, "_asked_abi", lambda: "1")
    monkeypatch.setenv("CXX", compiler(tmp_path, 'echo "it is too hot" >&2; exit 3'))
    with pytest.raises(ClientBuildError, match=r"(?s)ended with exit code 3.*it is too hot"):
        torch_library.built_torch_library()
    assert not list(tmp_path.rglob("building-*")) and not list(tmp_path.rglob("*.so"))


def test_it_is_compiled_once_and_anew_where_it_is_forced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch_library, "_asked_abi", lambda: "1")
    record = f'echo run >> {tmp_path}/runs; for last; do :; done; echo made > "$last"'
    monkeypatch.setenv("CXX", compiler(tmp_path, record))
    told: list[str] = []
    place = torch_library.built_torch_library(told.append)
    assert len(told) == 1 and told[0].startswith("compiling libpenstock_torch.so against ")
    assert torch_library.built_torch_library(told.append) == place
    assert len(told) == 1
    assert (tmp_path / "runs").read_text() == "run\n" and place.read_text() == "made\n"
    assert torch_library.built_torch_library(force=True) == place
    assert (tmp_path / "runs").read_text() == "run\nrun\n"
