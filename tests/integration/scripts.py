"""Programs of the documentation, run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def snippets(page: Path, fence: str = "python") -> list[str]:
    """Return the code of a page in fences of this kind, in order."""
    return re.findall(rf"```{fence}\n(.*?)```", page.read_text(), re.DOTALL)


def ran(script: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    """Run an Experiment script in its directory, with a state of its own; fails when the script does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_STATE_HOME", str(script.parent / "state"))
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
