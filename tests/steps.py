"""Steps of tests that are programs of others: compilers, CMake, CTest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import NoReturn

import pytest

SHOWN = 8000
DEADLINE_S = 600.0


def run_step(command: Sequence[str], *, deadline_s: float = DEADLINE_S, **environment: str) -> str:
    """Run one step to its end and return what it printed; a failure shows the end of that."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=deadline_s,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout[-SHOWN:]
    return done.stdout


def missing(what: str) -> NoReturn:
    """Skip a test for which a tool is missing; where CI runs it must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)
