"""Runs that are submitted as batch jobs: an experiment on two hosts, and the only run there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.record import Run, all_runs
from tests.integration.orchestrator.command import penstock

RUN = """
import time
from orchestrator import Application, Experiment, Resources

def main(config, *, launcher, run_dir):
    with Experiment("toy", launcher=launcher, run_dir=run_dir) as exp:
        text = "echo SAYS; " + config["then"]
        job = exp.start(Application("solver", ["sh", "-c", text], resources=Resources(nodes=2)))
        print("the driver is up")
        exp.wait(job)
    time.sleep(0.5)  # no readiness: the script goes on after its run, and is followed to its end
    print("the driver is over")
"""
FOREVER = ("--set", "then=exec sleep 1000")


def toy_experiment(directory: Path, says: str) -> Path:
    """Write an experiment whose program runs on two hosts and echoes a text; return its directory."""
    toy = directory / "toy"
    toy.mkdir()
    (toy / "run.py").write_text(RUN.replace("SAYS", says))
    (toy / "config.toml").write_text('then = "true"\n')
    return toy


def the_run() -> Run:
    """Return the only run there is."""
    (run,) = all_runs()
    return run


def shown() -> dict[str, Any]:
    """Return what ps shows of the only run there is."""
    (run,) = json.loads(penstock("ps", "--all", "--json").stdout)
    return dict(run)
