"""The real SmartSim, in a Python of its own: its pins (protobuf 3.20, numpy 1) are its own business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.build import built_module
from tests.integration.servers import ServerBinary

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(__file__).parent / "programs"
OWN = ROOT / ".venv-smartsim" / "bin" / "python"
CANDIDATES = (os.environ.get("PENSTOCK_SMARTSIM", ""), str(OWN), sys.executable)
HAS_SMARTSIM = "import importlib.util, sys; sys.exit(importlib.util.find_spec('smartsim') is None)"

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def smartsim_python() -> str:
    """A Python that has SmartSim."""
    for python in CANDIDATES:
        found = Path(python).is_file() and subprocess.run([python, "-c", HAS_SMARTSIM], check=False)
        if found and found.returncode == 0:
            return python
    missing = "no SmartSim: make .venv-smartsim/.ready, or name a Python that has it in PENSTOCK_SMARTSIM"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def setup(
    server_binary: ServerBinary, smartsim_python: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment that `eval "$(penstock smartsim-setup)"` leaves, for each redis-server."""
    built_module()
    folder = tmp_path_factory.mktemp("smartsim") / "folder"
    command = [sys.executable, "-m", "orchestrator.cli", "smartsim-setup", "--smartsim", smartsim_python]
    command += ["--folder", str(folder), "--redis-server", str(server_binary.path)]
    made = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert made.returncode == 0, made.stderr
    hidden = ("PYTHONPATH", "SR_SOCKET_TIMEOUT")
    before = {name: value for name, value in os.environ.items() if name not in hidden}
    evaluated = subprocess.run(
        ["/bin/sh", "-euc", 'eval "$EXPORTS"; unset EXPORTS; exec env -0'],
        capture_output=True,
        text=True,
        check=True,
        env={**before, "RAI_PATH": "/wrong", "EXPORTS": made.stdout},
    )
    return dict(pair.split("=", 1) for pair in evaluated.stdout.split("\0") if pair)


@pytest.fixture
def run(smartsim_python: str, setup: dict[str, str], tmp_path: Path) -> Run:
    """Run one of the programs as a SmartSim user would; returns the last line it prints, which is JSON."""

    def act(program: str, *arguments: str | Path | int) -> dict[str, Any]:
        done = subprocess.run(
            [smartsim_python, str(PROGRAMS / program), *map(str, arguments)],
            cwd=tmp_path,
            env={**setup, "SMARTSIM_JM_INTERVAL": "1", "SMARTSIM_FLAG_TELEMETRY": "0"},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{outputs(tmp_path)}"
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    return act


def outputs(directory: Path) -> str:
    """Return what the programs of an experiment have printed."""
    files = [*directory.rglob("*.out"), *directory.rglob("*.err")]
    return "\n".join(f"--- {file}\n{file.read_text(errors='replace')[-2000:]}" for file in files)
