"""The truth's climate: the whole system, many members at once. Nobody learns from it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from climate import Climate
from lorenz96 import Truth, steps_of, system_arguments, system_from
from names import CLIMATE, run

NICENESS = 19
"""Nobody waits for it before the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("seed", "members"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("time", "dt", "every"):
        parser.add_argument(f"--{name}", type=float, required=True)
    system_arguments(parser)
    given = parser.parse_args()
    os.nice(NICENESS)

    truth = Truth.spun_up(system_from(given), given.members, given.seed, given.dt)
    steps, climate = steps_of(given.every, given.dt), Climate()
    for _ in range(steps_of(given.time, given.every)):
        truth.advance(steps)
        climate.add(truth.x)
    climate.save(Path(CLIMATE))


if __name__ == "__main__":
    run(main)
