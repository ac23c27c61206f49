"""The start of databases beside a program on ten hosts: namespaces of this machine, in a real Slurm."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from orchestrator import Application, Experiment, Resources, colocate
from tests.integration.orchestrator.slurm_nodes import SlurmNodes, missing

HOSTS = 10
READY_S = 300.0


@contextmanager
def _allocation(directory: Path) -> Iterator[SlurmNodes]:
    """Be in an allocation of ten hosts."""
    with SlurmNodes(directory, count=HOSTS) as nodes:
        variables = {**nodes.environment, "SLURM_JOB_ID": nodes.allocate(HOSTS)}
        with mock.patch.dict(os.environ, variables):
            yield nodes


def _step() -> float:
    """Return how long Slurm takes for a step that does nothing on each host, s."""
    start = time.perf_counter()
    subprocess.run(["srun", f"--nodes={HOSTS}", "--overlap", "true"], check=True, capture_output=True)
    return time.perf_counter() - start


def _databases(directory: Path, module: Sequence[str] | None) -> float:
    """Return how long it takes until there is a database on each host beside a program, s."""
    with (
        tempfile.TemporaryDirectory(dir=directory) as run,
        Experiment("bench", run_dir=Path(run, "run")) as exp,
    ):
        program = Application("solver", ["sleep", "1000"], resources=Resources(nodes=HOSTS))
        beside = colocate(program, module=module)
        start = time.perf_counter()
        job = exp.start(beside)
        found = exp.colocated(job, READY_S)
        took = time.perf_counter() - start
        if len(found) != HOSTS:
            raise AssertionError(f"{len(found)} databases where {HOSTS} were to be")
        return took


def ten_hosts(rounds: int) -> dict[str, Any]:
    """Measure it with and without the module, beside what the scheduler takes alone."""
    reason = missing()
    if reason is not None:
        return {"skipped": reason}
    with tempfile.TemporaryDirectory(prefix="penstock-") as name, _allocation(Path(name)):
        ways = {
            "srun of true": _step,
            "databases without a module": lambda: _databases(Path(name), ()),
            "databases with the module": lambda: _databases(Path(name), None),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, measure in ways.items():
                taken[way].append(measure())
    return {
        "series": [
            {"name": way, "s": statistics.median(some), "least_s": min(some), "most_s": max(some)}
            for way, some in taken.items()
        ]
    }
