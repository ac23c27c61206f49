"""A trainer for the kill tests: learns each number that `a` puts once, in order, noting it before the step.

`python counting_trainer.py CHECKPOINT_EVERY`: notes.txt gets a line for each batch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from sim_clients import connect
from trainers import Fifo
from trainers.losses import mean_square
from trainers.networks import Mlp
from trainers.train import Training, train

TRAINING = Training(
    model="count",
    producers=("a",),
    held_out=("b",),
    inputs=("x",),
    target="x",
    jump=0,
    steps=10**6,
    seconds=600.0,
    judges=1,
    batch_size=4,
    learning_rate=1e-9,
    validate_every=10**6,
    checkpoint_every=int(sys.argv[1]),
)
NOTES = os.open("notes.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def noted(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the loss, when the numbers of the batch are in the file: all in one write."""
    os.write(NOTES, (" ".join(str(int(number)) for number in target[:, 0]) + "\n").encode())
    return mean_square(answer, target)


torch.set_num_threads(1)
torch.manual_seed(0)
train(Mlp(1, 1, width=8), connect(), TRAINING, Fifo(16, seed=0), Path.cwd(), loss=noted)
