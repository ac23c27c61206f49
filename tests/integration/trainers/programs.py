"""Programs as Penstock starts them: a database and a name in their environment, a directory of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]
EXIT_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Program:
    """A running program."""

    process: subprocess.Popen[bytes]
    log_path: Path

    def log(self) -> str:
        return self.log_path.read_text()

    def returncode(self) -> int:
        """Wait for its end, and return its exit status."""
        return self.process.wait(EXIT_TIMEOUT_S)


@contextmanager
def running(
    script: Path,
    *arguments: str,
    name: str,
    directory: Path,
    environment: Mapping[str, str],
    ranks: int = 1,
    restarts: int = 0,
) -> Iterator[Program]:
    """Start a program, of several ranks by torchrun; all of it is dead when the block ends.

    Args:
        script: or -m, before the name of a module.
        restarts: how often torchrun starts the ranks again when one fails.
    """
    directory.mkdir(exist_ok=True)
    own = {"PENSTOCK_NAME": name, "PENSTOCK_JOB_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    limits = {"SR_CMD_TIMEOUT": "2", "OMP_NUM_THREADS": "1"}
    with (directory / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *(torchrun(ranks, restarts) if ranks > 1 else ()), str(script), *arguments],
            cwd=directory,
            env={**os.environ, **environment, **own, **limits},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Program(process, directory / "log.txt")
    finally:
        of_torchrun = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        for child in of_torchrun:
            with suppress(psutil.NoSuchProcess):
                child.kill()


def torchrun(ranks: int, restarts: int) -> list[str]:
    """Return what Python is told to start so many ranks on this host, who meet at a free port."""
    count = [f"--nproc-per-node={ranks}", f"--max-restarts={restarts}"]
    return ["-m", "torch.distributed.run", "--standalone", *count]
