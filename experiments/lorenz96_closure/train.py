"""The trainer: learns B from X while snapshots come in, and posts each better network."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from lorenz96 import system_arguments, system_from
from names import ARCHIVE, MODEL, B, X, run
from network import Closure

from sim_clients import connect
from trainers import Reservoir, TrainerError, export
from trainers.train import Training, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", nargs="+", required=True)
    parser.add_argument("--held_out", nargs="+", required=True)
    for name in ("seed", "upstream", "downstream", "width", "steps", "batch_size", "capacity", "watermark"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("validate_every", "judges"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("seconds", "learning_rate", "improvement"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()
    system = system_from(given)

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(given.seed)
    network = Closure(system.forcing, upstream=given.upstream, downstream=given.downstream, width=given.width)
    training = Training(
        model=MODEL,
        producers=tuple(given.producers),
        held_out=tuple(given.held_out),
        inputs=(X,),
        target=B,
        jump=0,  # X and B are of one snapshot
        steps=given.steps,
        seconds=given.seconds,
        judges=given.judges,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        validate_every=given.validate_every,
        improvement=given.improvement,
    )
    client = connect()
    buffer = Reservoir(given.capacity, watermark=given.watermark, seed=given.seed)
    publisher = train(network, client, training, buffer, Path.cwd())
    example = [torch.zeros(1, system.slow)]
    publisher.post_again(network, example, publisher.best_loss)  # as it is at the end, better or not
    Path(ARCHIVE).write_bytes(export(network, example))
    client.request_stop()
    client.close()


if __name__ == "__main__":
    run(main, TrainerError)
