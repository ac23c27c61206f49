"""The commands of a scheduler are asked, and may answer anything or nothing."""

from __future__ import annotations

import os
import re
import select
from pathlib import Path

import pytest

from orchestrator.asking import Commands
from orchestrator.errors import PbsError

NUMBER = re.compile(r"\d+\.\S+")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Those of PBS; the tests write `qsub`, which comes before all others on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Commands("PBS", PbsError)


def qsub(directory: Path, does: str) -> None:
    (directory / "qsub").write_text(f"#!/bin/sh\n{does}\n")
    (directory / "qsub").chmod(0o755)


def test_what_is_no_utf_8_is_read(commands: Commands, tmp_path: Path) -> None:
    qsub(tmp_path, r"printf 'caf\351\n'")
    assert commands.ask("qsub") == "caf\N{REPLACEMENT CHARACTER}\n"
    qsub(tmp_path, r"printf 'caf\351\n' >&2; exit 1")
    with pytest.raises(PbsError, match="was refused: caf\N{REPLACEMENT CHARACTER}"):
        commands.ask("qsub")


def test_colours_are_left_out(commands: Commands, tmp_path: Path) -> None:
    qsub(tmp_path, r"printf '\033[1;32m31.srv\033[0m\n'")
    assert commands.ask("qsub") == "31.srv\n"


def test_what_it_reads_arrives_as_it_is(commands: Commands, tmp_path: Path) -> None:
    """Also the bytes of a path that is no UTF-8, as Python has them."""
    qsub(tmp_path, f"cat > {tmp_path}/read")
    commands.ask("qsub", stdin=os.fsdecode("é ".encode() + b"caf\xe9"))
    assert (tmp_path / "read").read_bytes() == "é ".encode() + b"caf\xe9"


@pytest.mark.parametrize("said", ["31.srv", "Note: busy, version 2.1\n31.srv", "\\033[32m31.srv\\033[0m\n"])
def test_the_number_of_a_job_is_a_line_of_the_answer(commands: Commands, tmp_path: Path, said: str) -> None:
    qsub(tmp_path, f"printf '{said}'")
    assert commands.submit(NUMBER, "qsub", "-h", script="") == "31.srv"


@pytest.mark.parametrize("said", ["", "Note: busy", "31.srv\n32.srv", "job 31.srv"])
def test_an_answer_without_one_number_is_quoted(commands: Commands, tmp_path: Path, said: str) -> None:
    qsub(tmp_path, f"printf '{said}'")
    with pytest.raises(PbsError, match=r"`qsub -h` has not told the number of the job") as caught:
        commands.submit(NUMBER, "qsub", "-h", script="")
    assert repr(said) in str(caught.value) and "may be left, held" in str(caught.value)
    assert caught.value.said == said and caught.value.command == ("qsub", "-h")


def test_what_hangs_is_ended_with_all_that_it_has_started(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a script, whose child is the one that waits."""
    monkeypatch.setattr("orchestrator.asking.TIMEOUT_S", 2.0)
    qsub(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(PbsError, match=r"`qsub -f` has not ended after 2 s and was killed: PBS may be down"):
        commands.ask("qsub", "-f")
    try:
        child = os.pidfd_open(int((tmp_path / "child").read_text()))
    except ProcessLookupError:
        return
    assert select.select([child], [], [], 10)[0], "it still runs"
    os.close(child)
