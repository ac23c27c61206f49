"""Peers in Python environments of their own, made on request: they are no dependencies of Penstock."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from orchestrator.watcher import RUN_ID_VARIABLE, sweep
from sim_clients.cache import cache_directory

HOW = "{} not there: `python -m tests.bench --get-peers` installs the peers, in environments of their own"
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class OwnPython:
    """A Python environment for one peer, in the cache.

    Attributes:
        name: of its directory.
        packages: what pip is to install there.
        shown: its name for people, with "is" or "are" behind it.
    """

    name: str
    packages: tuple[str, ...]
    shown: str

    @property
    def directory(self) -> Path:
        """Where it is."""
        return cache_directory() / "bench" / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.directory / "bin" / "python"

    def is_there(self) -> bool:
        """Tell whether it has been made."""
        return self.python.exists()

    def missing(self) -> str:
        """Return what to do where it has not."""
        return HOW.format(self.shown)

    def make(self) -> None:
        """Make it, by pip.

        Raises:
            subprocess.CalledProcessError: there is no such package for this Python, or no way to it.
        """
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.directory)], check=True)
        try:
            subprocess.run([str(self.python), "-m", "pip", "install", "--quiet", *self.packages], check=True)
        except subprocess.CalledProcessError:
            self.python.unlink()
            raise

    def environment(self) -> dict[str, str]:
        """Return the environment of its programs, which find each other on PATH."""
        path = os.pathsep.join([str(self.python.parent), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path}


PARSL = OwnPython("parsl", ("parsl",), "Parsl is")
ADIOS2 = OwnPython("adios2", ("adios2", "numpy"), "ADIOS2 is")
DRAGON = OwnPython("dragon", ("dragonhpc", "numpy<2"), "Dragon is")
PEERS = (PARSL, ADIOS2, DRAGON)


def parsl_rate(command: list[str], count: int, slots: int) -> float:
    """Start so many programs by Parsl's HighThroughputExecutor, and return how long it took, s.

    Some of Parsl's processes outlive it for a while; they are ended, or they would slow down who is next.
    """
    mark = f"parsl-{secrets.token_hex(4)}"
    program = Path(__file__).with_name("parsl_tasks.py")
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [str(PARSL.python), str(program), str(count), str(slots), directory, command[0]],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=directory,
            env={**PARSL.environment(), RUN_ID_VARIABLE: mark},
            check=False,
        )
        sweep(mark, set())
    if done.returncode != 0:
        raise RuntimeError(f"Parsl has failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])
