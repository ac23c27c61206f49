"""The trainer: learns y(x) from what the solver pushes, and posts each better network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from sim_clients import Client, ClientError, connect
from trainers import Reservoir, TrainerError
from trainers.networks import Mlp
from trainers.train import Training, train


def learn(client: Client, steps: int, seconds: float) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    training = Training(
        model="sine",
        producers=("swing_0",),
        held_out=("swing_1",),
        inputs=("x",),
        target="y",
        jump=0,
        steps=steps,
        seconds=seconds,
        learning_rate=2e-2,
        validate_every=100,
    )
    train(Mlp(1, 1), client, training, Reservoir(1000, seed=0), Path.cwd())
    client.raise_flag("learned")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    try:
        learn(connect(), given.steps, given.seconds)
    except (ClientError, TrainerError) as error:
        sys.exit(f"learn.py: {error}")
