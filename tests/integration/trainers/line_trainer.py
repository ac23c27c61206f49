"""A trainer for the kill tests: learns a straight line from the members a and b."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from sim_clients import connect
from trainers import Reservoir
from trainers.networks import Mlp
from trainers.train import Training, train

TRAINING = Training(
    model="line",
    producers=("a",),
    held_out=("b",),
    inputs=("x",),
    target="y",
    jump=0,
    steps=int(sys.argv[1]),
    seconds=600.0,
    judges=4,
    validate_every=20,
    checkpoint_every=20,
    improvement=0.0,
)

torch.set_num_threads(1)
torch.manual_seed(0)
train(Mlp(1, 1, width=8), connect(), TRAINING, Reservoir(100, watermark=8, seed=0), Path.cwd())
