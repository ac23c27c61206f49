"""What a coarse step costs: by the network in the database, by the same one in this process, and by none."""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from coupled import in_database
from lorenz96 import Array, Closure, Coarse, System, Truth, system_arguments, system_from
from names import MODEL, run, write_report

from sim_clients import Client, connect

BLOCKS = 20
"""Each kind of step is measured so often, in turn, so that all meet the same moments of the machine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "members", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("dt", "truth_dt"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()
    system = system_from(given)

    client = connect()
    torch.set_num_threads(1)
    closures = {"database": in_database(client), "process": in_process(client), "none": np.zeros_like}
    result = {}
    for members in (1, given.members):
        x = Truth.spun_up(system, members, given.seed, given.truth_dt).x
        largest = float(np.abs(closures["database"](x) - closures["process"](x)).max())
        result[str(members)] = {"largest_difference": largest} | step_times(
            system, x, given.dt, closures, given.steps
        )
    client.close()
    write_report(result)


def in_process(client: Client) -> Closure:
    """Return the closure that the same version of the network is in this process."""
    model = client.local_model(MODEL, follow_every_s=None)
    return lambda x: model(x.astype(np.float32)).astype(np.float64)


def step_times(
    system: System, x: Array, dt: float, closures: dict[str, Closure], steps: int
) -> dict[str, float]:
    """Return the median time of a step by each closure, s."""
    solvers = {name: Coarse(system, x, dt, closure) for name, closure in closures.items()}
    times: dict[str, list[float]] = {name: [] for name in closures}
    for _ in range(BLOCKS):
        for name, solver in solvers.items():
            for _ in range(max(1, steps // BLOCKS)):
                before = time.perf_counter()
                solver.step()
                times[name].append(time.perf_counter() - before)
    return {name: float(np.median(values)) for name, values in times.items()}


if __name__ == "__main__":
    run(main)
