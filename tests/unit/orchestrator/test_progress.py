"""The lines of one program's log, shown while somebody waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.progress import follow, following


def test_lines_are_shown_with_the_name_in_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.txt"
    log.write_text("step 1\n")
    with following("trainer", log), log.open("a") as file:
        file.write("step 2\nstep ")
        file.flush()
        file.write("3\n")
    assert capsys.readouterr().out == "trainer | step 1\ntrainer | step 2\ntrainer | step 3\n"


def test_a_last_line_without_an_end_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.txt"
    log.write_text("killed in the mid")
    with following("trainer", log):
        pass
    assert capsys.readouterr().out == "trainer | killed in the mid\n"


def test_bytes_that_are_no_text_are_shown_as_far_as_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"\xff\xfe field\n")
    with following("trainer", log):
        pass
    assert capsys.readouterr().out.endswith(" field\n")


def test_what_was_written_before_the_end_is_still_shown(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("first\n")

    def ended(interval_s: float) -> bool:
        log.write_text("first\nlast words\n")
        return True

    assert "".join(follow(log, ended)) == "first\nlast words\n"
