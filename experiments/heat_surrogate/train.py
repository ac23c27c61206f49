"""The trainer: learns the jump from the solvers' snapshots while they run, and posts each better network."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from heat import plate_arguments, plate_from
from names import MODEL, run
from network import HeatJump

from sim_clients import connect
from trainers import TrainerError, buffer_named
from trainers.train import Training, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", nargs="+", required=True)
    parser.add_argument("--held_out", nargs="+", required=True)
    for name in ("seed", "modes", "width", "depth", "steps", "batch_size"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--buffer", required=True)
    for name in ("capacity", "watermark", "validate_every", "judges"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("seconds", "learning_rate"):
        parser.add_argument(f"--{name}", type=float, required=True)
    plate_arguments(parser)
    given = parser.parse_args()
    plate = plate_from(given)

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(given.seed)
    network = HeatJump(plate, modes=given.modes, width=given.width, depth=given.depth)
    training = Training(
        model=MODEL,
        producers=tuple(given.producers),
        held_out=tuple(given.held_out),
        inputs=("u", "source", "diffusivity"),
        target="u",
        jump=plate.jump_steps,
        steps=given.steps,
        seconds=given.seconds,
        judges=given.judges,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        validate_every=given.validate_every,
        stop_solvers=True,
    )
    buffer = buffer_named(given.buffer, given.capacity, watermark=given.watermark, seed=given.seed)
    client = connect()
    train(network, client, training, buffer, Path.cwd())
    client.close()


if __name__ == "__main__":
    run(main, TrainerError)
