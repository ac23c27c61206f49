"""Parsl in a Python environment of its own, made on request: it is no dependency of Penstock."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from orchestrator.watcher import RUN_ID_VARIABLE, sweep
from sim_clients.cache import cache_directory

PROGRAM = Path(__file__).with_name("parsl_tasks.py")
HOW = "Parsl is not there: `python -m tests.bench --get-parsl` installs it, in an environment of its own"
TIMEOUT_S = 300.0


def parsl_python() -> Path | None:
    """Return the Python that has Parsl; None where there is none yet."""
    python = _directory() / "bin" / "python"
    return python if python.exists() else None


def get_parsl() -> Path:
    """Make the environment, by pip, and return its Python."""
    directory = _directory()
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
    python = directory / "bin" / "python"
    try:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "parsl"], check=True)
    except subprocess.CalledProcessError:
        python.unlink()
        raise
    return python


def parsl_rate(python: Path, command: list[str], count: int, slots: int) -> float:
    """Start so many programs by Parsl's HighThroughputExecutor, and return how long it took, s.

    Some of Parsl's processes outlive it for a while; they are ended, or they would slow down who is next.
    """
    mark = f"parsl-{secrets.token_hex(4)}"
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])  # its workers are there
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [str(python), str(PROGRAM), str(count), str(slots), directory, command[0]],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=directory,
            env={**os.environ, "PATH": path, RUN_ID_VARIABLE: mark},
            check=False,
        )
        sweep(mark, set())
    if done.returncode != 0:
        raise RuntimeError(f"Parsl has failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _directory() -> Path:
    return cache_directory() / "bench" / "parsl"
