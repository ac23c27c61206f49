"""The trainer: learns B from X while snapshots come in, and posts each network that is better.

Better is decided twice: the gate lets a network through that beats the live version on held-out snapshots,
and in its trial the coupled solver reports how it does in the states to which it leads. At the end a network
that has learned nothing is posted past the gate, to see that its trial has the version before live again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch
from lorenz96 import system_arguments, system_from
from names import MODEL, B, X, run, write_report
from network import Closure

from sim_clients import connect
from trainers import Publisher, Reservoir, TrainerError
from trainers.gate import Canary, Gate, better_by, keep_last_and_best
from trainers.history import append_history
from trainers.publish import Terms
from trainers.train import Training, train

VERSIONS_KEPT = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", nargs="+", required=True)
    parser.add_argument("--held_out", nargs="+", required=True)
    for name in ("seed", "upstream", "downstream", "width", "steps", "batch_size", "capacity", "watermark"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("validate_every", "judges", "reports"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("seconds", "learning_rate", "improvement", "trial_seconds"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()
    system = system_from(given)

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(given.seed)
    stencil = {"upstream": given.upstream, "downstream": given.downstream, "width": given.width}
    network, untrained = (Closure(system.forcing, **stencil) for _ in range(2))
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
        terms=Terms(
            gate=Gate(rule=better_by(given.improvement)),
            canary=Canary(reports=given.reports, seconds=given.trial_seconds),
            prune=keep_last_and_best(VERSIONS_KEPT),
        ),
    )
    client = connect()
    buffer = Reservoir(given.capacity, watermark=given.watermark, seed=given.seed)
    publisher = train(network, client, training, buffer, Path.cwd())
    drill(publisher, untrained, [torch.zeros(1, system.slow)])
    client.request_stop()
    client.close()
    write_report({"worse_version": publisher.version, "gone_back_from": publisher.rolled_back})


def drill(publisher: Publisher, worse: torch.nn.Module, example: list[torch.Tensor]) -> None:
    """Post a network past the gate, and wait for the end of its trial in the coupled solver."""
    version = publisher.post_again(worse, example, loss=1.0)  # it answers about 0
    posted = {"event": "promote", "unix_time": time.time(), "version": version, "reason": "past the gate"}
    publisher.settle(unless=lambda: False)
    for event in (posted, *publisher.events()):
        append_history(Path.cwd(), event)


if __name__ == "__main__":
    run(main, TrainerError)
