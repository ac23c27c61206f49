"""The smallest coupled program: a network learns sin(x) from a running solver, and is then asked for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator import Application, Ensemble, Experiment, Orchestrator, PenstockError, run_script
from sim_clients import connect

HERE = Path(__file__).parent


def main(config: dict[str, Any], *, launcher: str, run_dir: Path | None) -> None:
    swing = Ensemble("swing", [sys.executable, HERE / "produce.py", "--seed={seed}"], grid={"seed": [1, 2]})
    limits = [f"--steps={config['steps']}", f"--seconds={config['seconds']}"]
    trainer = Application("trainer", [sys.executable, HERE / "learn.py", *limits])

    with Experiment("sine_hello", launcher=launcher, run_dir=run_dir) as exp:
        db = exp.start(Orchestrator())
        learning = exp.start(trainer, database=db)
        exp.start(swing, database=db)
        if exp.dry_run:
            return
        exp.wait(timeout_s=60, follow=learning)

        client = connect(db.address)
        x = np.linspace(-np.pi, np.pi, 201, dtype=np.float32)[:, None]
        error = float(abs(client.infer("sine", x) - np.sin(x)).max())
        version = client.model_version("sine")
        client.close()

    result = {"max_error": error, "version": version, "passed": error < config["max_error"]}
    (exp.run_dir / "result.json").write_text(json.dumps(result, indent=1))
    print(f"version {version} of the network is at most {error:.4f} away from sin(x)")
    print(f"result.json {exp.run_dir / 'result.json'}")
    if not result["passed"]:
        raise PenstockError(f"max_error < {config['max_error']:g} was not reached, it is {error:.4f}")


if __name__ == "__main__":
    run_script(main, __file__)
