"""The whole system, some members of it: X and the subgrid tendency B over the training horizon."""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from lorenz96 import Truth, steps_of, system_arguments, system_from
from names import B, X, run, write_report

from sim_clients import Client, connect

NICENESS = 10
"""On a laptop the solvers share two cores with the trainer; here it is the one that must not starve."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "members"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("horizon", "dt", "every"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()
    os.nice(NICENESS)

    client = connect()
    truth = Truth.spun_up(system_from(given), given.members, given.seed, given.dt)
    steps, snapshots = steps_of(given.every, given.dt), steps_of(given.horizon, given.every)
    for number in range(snapshots):
        put(client, truth, number * steps, number * given.every)
        truth.advance(steps)
    client.end_stream()
    client.close()
    write_report({"ended": time.time(), "snapshots": snapshots})


def put(client: Client, truth: Truth, step: int, at: float) -> None:
    """Put a snapshot of all members."""
    fields = {X: truth.x, B: truth.subgrid()}
    client.put_snapshot(step, {name: field.astype(np.float32) for name, field in fields.items()}, time=at)


if __name__ == "__main__":
    run(main)
