"""The trainer: learns y(x) from what the solvers push while they run, and posts each better network."""

import sys
from pathlib import Path

import torch

from sim_clients import ClientError, connect
from trainers import Reservoir, TrainerError
from trainers.networks import Mlp
from trainers.train import Training, train


def learn(steps: int, seconds: float) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    training = Training(
        model="sine",
        producers=("swing_0",),
        held_out=("swing_1",),  # judges, and is never learned from
        inputs=("x",),
        target="y",
        jump=0,  # x and y are of one snapshot
        steps=steps,
        seconds=seconds,
        learning_rate=1e-2,
        validate_every=200,
    )
    client = connect()
    train(Mlp(1, 1), client, training, Reservoir(1000, watermark=16, seed=0), Path.cwd())
    client.request_stop()


if __name__ == "__main__":
    try:
        learn(steps=int(sys.argv[1]), seconds=float(sys.argv[2]))
    except (ClientError, TrainerError) as error:
        sys.exit(f"learn.py: {error}")
