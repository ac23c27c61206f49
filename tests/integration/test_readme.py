"""The README's Experiment, its solver and its trainer, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.scripts import ran, snippets

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_three_files_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, *programs = snippets(ROOT / "README.md")
    (tmp_path / "experiment.py").write_text(experiment)
    for program in programs:
        (tmp_path / program.split()[1]).write_text(program)
    done = ran(tmp_path / "experiment.py", monkeypatch)
    assert "posted as version 1" in done.stdout
    (log,) = tmp_path.glob("runs/heat/*/heat_0/log.txt")
    errors = [float(error) for error in re.findall(r"the network is off by (\S+)", log.read_text())]
    assert min(errors[-10:]) < min(errors[:10]) / 3
