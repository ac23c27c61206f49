"""What the network is compared with: no closure, and polynomials fitted to what it learned from.

The polynomials give B from X at the same point. The cubic is the kind of Wilks (Q. J. R. Meteorol. Soc. 131,
2005) without noise, the line its simplest relative.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from climate import Climate
from lorenz96 import Array, BlownUp, Closure, Coarse, System, Truth, steps_of, system_arguments, system_from
from names import MODEL, B, X, run, write_report

from sim_clients import Client, connect

DEGREES = {"linear": 1, "cubic": 3}
NONE = "none"


class NoSnapshots(Exception):
    """Nobody of those who are named has put a snapshot."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", nargs="+", required=True)
    parser.add_argument("--held_out", nargs="+", required=True)
    for name in ("seed", "members"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("dt", "truth_dt", "every", "spin_up", "free_time"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()

    client = connect()
    learned, judged = snapshots(client, given.producers), snapshots(client, given.held_out)
    closures: dict[str, Closure] = {NONE: np.zeros_like}
    coefficients = {}
    for name, degree in DEGREES.items():
        polynomial = np.polynomial.Polynomial.fit(learned[0].ravel(), learned[1].ravel(), degree).convert()
        closures[name], coefficients[name] = polynomial, polynomial.coef.tolist()
    network = client.infer(MODEL, judged[0].astype(np.float32)).astype(np.float64)
    client.close()

    answers = {name: closure(judged[0]) for name, closure in closures.items()} | {MODEL: network}
    unexplained = {name: unexplained_share(answer, judged[1]) for name, answer in answers.items()}
    system = system_from(given)
    blown_up = {name: free_run(system, name, closure, given) for name, closure in closures.items()}
    write_report({"unexplained": unexplained, "coefficients": coefficients, "blown_up": blown_up})


def snapshots(client: Client, producers: list[str]) -> tuple[Array, Array]:
    """Return X and B of all snapshots of some producers: (states, slow) each.

    Raises:
        NoSnapshots
    """
    every = (client.get_snapshot(position) for position in range(client.announced()))
    fields = [snapshot.fields for snapshot in every if snapshot.producer in producers]
    if not fields:
        raise NoSnapshots(f"there are no snapshots of {', '.join(producers)}")
    x, b = (np.concatenate([field[name] for field in fields]).astype(np.float64) for name in (X, B))
    return x, b


def unexplained_share(answer: Array, b: Array) -> float:
    """Return which share of the variance of B a closure leaves unexplained."""
    return float(np.square(answer - b).mean() / b.var())


def free_run(system: System, name: str, closure: Closure, given: argparse.Namespace) -> float | None:
    """Let a closure drive the coarse solver; return when it has blown up, None if it has not."""
    start = Truth.spun_up(system, given.members, given.seed, given.truth_dt)
    coarse, climate = Coarse(system, start.x, given.dt, closure), Climate()
    steps, spin_up = steps_of(given.every, given.dt), steps_of(given.spin_up, given.every)
    try:
        for number in range(spin_up + steps_of(given.free_time, given.every)):
            for _ in range(steps):
                coarse.step()
            if number >= spin_up:
                climate.add(coarse.x)
    except BlownUp as error:
        return error.time
    climate.save(Path(f"{name}.npz"))
    return None


if __name__ == "__main__":
    run(main, NoSnapshots)
