"""A trainer whose versions are on trial until three reports have come; torchrun starts it in two ranks."""

from __future__ import annotations

from pathlib import Path

import torch

from sim_clients import connect
from tests.integration.trainers.line_network import line
from trainers import Reservoir
from trainers.gate import Canary, Gate
from trainers.publish import Terms
from trainers.train import Training, train

TRAINING = Training(
    model="on_trial",
    producers=("a", "c"),
    held_out=("b",),
    inputs=("x",),
    target="y",
    jump=0,
    steps=10**6,
    seconds=600.0,
    judges=4,
    validate_every=10,
    terms=Terms(gate=Gate(rule=lambda candidate, live: True), canary=Canary(reports=3, seconds=600)),
)

torch.set_num_threads(1)
torch.manual_seed(0)
train(line(), connect(), TRAINING, Reservoir(100, watermark=8, seed=0), Path.cwd())
