"""Parsl's HighThroughputExecutor starts programs: run by a Python of its own that has Parsl, not by ours.

    python parsl_tasks.py COUNT WORKERS DIRECTORY PROGRAM

Prints how many seconds it took from the first task to the end of the last. The executor is up before; each
task is a program in a directory of its own with a log, as a member of an Ensemble is.
"""

from __future__ import annotations

import sys
import time

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider


@parsl.python_app
def member(command: str, directory: str) -> int:
    """Run one program; what a task uses it imports where it runs."""
    import subprocess  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    own = Path(directory)
    own.mkdir()
    with (own / "log.txt").open("ab") as log:
        return subprocess.run([command], cwd=own, stdout=log, stderr=log, check=False).returncode


def main(count: int, workers: int, directory: str, program: str) -> None:
    """Measure."""
    executor = HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        max_workers_per_node=workers,
        cpu_affinity="block",
        encrypted=False,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    config = Config(executors=[executor], run_dir=f"{directory}/runinfo", usage_tracking=0)
    with parsl.load(config):
        warm = [member(program, f"{directory}/warm_{number}") for number in range(2 * workers)]
        for task in warm:
            task.result()
        start = time.perf_counter()
        tasks = [member(program, f"{directory}/m_{number}") for number in range(count)]
        codes = {task.result() for task in tasks}
        took = time.perf_counter() - start
    if codes != {0}:
        raise SystemExit(f"tasks ended with {codes}")
    print(took)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
