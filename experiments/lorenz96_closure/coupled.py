"""The coarse solver, which asks the network in the database for B at every step: the version that is live.

While the trainer runs, whole systems are nudged along the coarse solver's first members and put snapshots:
what the subgrid tendency would be in the states to which the network leads (Rasp, GMD 13, 2020). By the same
states the live version is judged, and its error reported: one that does worse there is gone back from.
When the trainer has ended the coarse solver goes on alone by the last version, and its climate is collected.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from climate import Climate
from lorenz96 import Array, Closure, Coarse, System, Truth, steps_of, system_arguments, system_from
from names import CLIMATE, MODEL, run, write_report
from truth import put

from sim_clients import Client, ModelMissing, connect

FIRST_VERSION_S = 90.0
"""How long the first version is waited for."""
PAUSE_S = 0.05


class NoModel(Exception):
    """The trainer has posted no network in time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "members", "nudged"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("dt", "truth_dt", "every", "nudging_time", "spin_up", "free_time"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()
    system = system_from(given)

    client = connect()
    start = Truth.spun_up(system, given.members, given.seed, given.truth_dt)
    coarse = Coarse(system, start.x, given.dt, in_database(client))
    nudged = Nudged(
        system,
        start,
        given.nudged,
        dt=given.dt,
        truth_dt=given.truth_dt,
        nudging_time=given.nudging_time,
    )
    steps = steps_of(given.every, given.dt)
    wait_for_model(client)
    versions = learn(client, coarse, nudged, steps, given.every)
    learned_steps = coarse.steps

    climate = Climate()
    for _ in range(steps_of(given.spin_up, given.every)):
        advance(coarse, steps)
    for _ in range(steps_of(given.free_time, given.every)):
        advance(coarse, steps)
        climate.add(coarse.x)
    client.close()
    climate.save(Path(CLIMATE))
    write_report(
        {
            "versions": versions,
            "snapshots": learned_steps // steps,
            "learned_time": learned_steps * given.dt,
            "free_time": given.free_time,
            "inferences": coarse.steps,
        }
    )


def in_database(client: Client) -> Closure:
    """Return the closure that the live version in the database is."""

    def closure(x: Array) -> Array:
        return client.infer(MODEL, x.astype(np.float32)).astype(np.float64)

    return closure


def wait_for_model(client: Client) -> None:
    """Wait until there is a first version.

    Raises:
        NoModel
    """
    deadline = time.monotonic() + FIRST_VERSION_S
    while True:
        try:
            client.model_version(MODEL)
        except ModelMissing:
            if time.monotonic() > deadline:
                raise NoModel(f"no version of {MODEL!r} was posted in {FIRST_VERSION_S:g} s") from None
            time.sleep(PAUSE_S)
        else:
            return


def learn(client: Client, coarse: Coarse, nudged: Nudged, steps: int, every: float) -> list[dict[str, float]]:
    """Let the trainer learn from where its own networks lead, until it has ended.

    Returns:
        Each version that answered, since which model time and since when.
    """
    versions: list[dict[str, float]] = []
    number = 0
    while not client.stop_requested():
        for _ in range(steps):
            before = coarse.x
            coarse.step()
            nudged.follow(before, coarse.x)
        number += 1
        put(client, nudged.truth, coarse.steps, number * every)
        version = report_error(client, nudged.truth)
        if not versions or versions[-1]["version"] != version:
            versions.append({"version": version, "time": number * every, "unix_time": time.time()})
    client.end_stream()
    last = client.model_version(MODEL)
    return [*versions, {"version": last, "time": number * every, "unix_time": time.time()}]


def report_error(client: Client, truth: Truth) -> int:
    """Report how far the live version is from B in the states to which it has led; return which one it is.

    The measure is the relative L2 error over all members.
    """
    b = truth.subgrid()
    answer, version = client.infer_versioned(MODEL, truth.x.astype(np.float32))
    client.report_error(MODEL, float(np.linalg.norm(answer - b) / np.linalg.norm(b)), version)
    return version


class Nudged:
    """Whole systems that are pulled towards the paths of the first members of a coarse solver.

    Args:
        start: where they begin.
        members: how many.
        dt: of the coarse solver's steps.
        truth_dt: of theirs.
        nudging_time: within which they follow.
    """

    def __init__(
        self, system: System, start: Truth, members: int, *, dt: float, truth_dt: float, nudging_time: float
    ) -> None:
        self.truth = Truth(system, start.x[:members].copy(), start.y[:members].copy(), truth_dt)
        self._members = members
        self._steps = steps_of(dt, truth_dt)
        self._rate = 1 / nudging_time

    def follow(self, before: Array, after: Array) -> None:
        """Go on while the coarse solver makes one step from X to X, pulled to where it is meanwhile."""
        before, after = before[: self._members], after[: self._members]
        for step in range(self._steps):
            aim = before + (after - before) * (step + 0.5) / self._steps
            self.truth.advance(1, self._pull_to(aim))

    def _pull_to(self, aim: Array) -> Callable[[Array], Array]:
        return lambda x: self._rate * (aim - x)


def advance(coarse: Coarse, steps: int) -> None:
    for _ in range(steps):
        coarse.step()


if __name__ == "__main__":
    run(main, NoModel)
