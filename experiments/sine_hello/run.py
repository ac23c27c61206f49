"""The smallest coupled program: a network learns sin(x) from running solvers, and is then asked for it."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator import (
    Application,
    Ensemble,
    Experiment,
    LaunchOptions,
    Orchestrator,
    PenstockError,
    run_script,
)
from orchestrator.errors import UsageError
from sim_clients import connect

HERE = Path(__file__).parent


def main(config: dict[str, Any], *, launcher: LaunchOptions, run_dir: Path | None) -> None:
    for name, value in config["training"].items():
        if value <= 0:
            raise UsageError(f"training.{name} must be greater than 0, got {value}")
    solvers = Ensemble("swing", [sys.executable, HERE / "produce.py", "{seed}"], grid={"seed": [1, 2]})
    trainer = Application(
        "trainer", [sys.executable, HERE / "learn.py", *map(str, config["training"].values())]
    )

    with Experiment("sine_hello", launcher=launcher, run_dir=run_dir) as exp:
        db = exp.start(Orchestrator())
        learning = exp.start(trainer, database=db)
        exp.start(solvers, database=db)
        exp.wait(follow=learning)
        if exp.dry_run:
            return
        client, x = connect(db.address), np.linspace(-np.pi, np.pi, 201, dtype=np.float32)[:, None]
        error = float(abs(client.infer("sine", x) - np.sin(x)).max())
        version = client.model_version("sine")

    result = exp.run_dir / "result.json"
    passed = error < config["max_error"]
    result.write_text(json.dumps({"max_error": error, "version": version, "passed": passed}, indent=1))
    print(f"version {version} of the network is at most {error:.4f} away from sin(x); written to {result}")
    if not passed:
        raise PenstockError(f"max_error < {config['max_error']:g} was not reached, it is {error:.4f}")


if __name__ == "__main__":
    run_script(main, __file__)
