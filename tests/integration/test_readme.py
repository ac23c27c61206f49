"""The README's Experiment and its solver, as they are printed, with what a reader must add."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.scripts import ran, snippets

ROOT = Path(__file__).parents[2]

BEFORE_THE_SOLVER = """
import numpy as np

steps, u = 100_000, np.ones((4, 8), np.float32)


def advance(u):
    if client.flag_raised("learned"):
        raise SystemExit(client.end_stream())
    return (0.9 * u + 0.1).astype(np.float32)
"""
TRAINER = """
from pathlib import Path

from sim_clients import connect
from trainers import Reservoir
from trainers.networks import Mlp
from trainers.train import Training, train

client = connect()
producers, held_out = ("heat_0", "heat_1"), ("heat_2",)
training = Training("jump", producers, held_out, ("u",), "u", jump=1, steps=40, seconds=30)
train(Mlp(8, 8), client, training, Reservoir(500, seed=0), Path.cwd())
client.raise_flag("learned")
"""


@pytest.mark.slow
def test_the_experiment_and_the_solver_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, solver = snippets(ROOT / "README.md")
    # Answered by a network the plate would never ask to advance, so look for the flag before each step.
    asking = solver.replace("    client.put_snapshot", "    advance(u)\n    client.put_snapshot")
    (tmp_path / "experiment.py").write_text(experiment)
    (tmp_path / "simulate.py").write_text(BEFORE_THE_SOLVER + asking)
    (tmp_path / "train.py").write_text(TRAINER)
    done = ran(tmp_path / "experiment.py", monkeypatch)
    assert "posted as version 1" in done.stdout
