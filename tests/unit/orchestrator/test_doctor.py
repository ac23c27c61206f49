"""`penstock doctor`: what it prints of what it found."""

from __future__ import annotations

import pytest

from orchestrator.cli import doctor as checks


def test_lines_of_another_program_stay_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fix = "only for slurm: `sinfo --version` was refused:\nsinfo: error: [a]\x1b[31m\nsinfo: fatal: b"
    monkeypatch.setattr(
        checks, "CHECKS", (lambda: checks.Check("slurm", "optional", "none that will do", fix),)
    )
    checks.doctor()
    shown = capsys.readouterr().out
    assert "\\n" not in shown and "\x1b" not in shown
    lines = [line.split("│")[-2].strip() for line in shown.splitlines() if "│" in line]
    assert "sinfo: error: [a]\\x1b[31m" in lines and "sinfo: fatal: b" in lines
