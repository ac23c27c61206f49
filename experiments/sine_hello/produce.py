"""The solver: swings y'' = -y from y(0) = 0, y'(0) = 1 by small steps, and pushes y at random places."""

import math
import sys

import numpy as np

from sim_clients import ClientError, connect

STEPS = 20_000


def swing() -> np.ndarray:
    """Return y at STEPS + 1 places from 0 to pi, by leapfrog steps."""
    h, y, v = math.pi / STEPS, np.zeros(STEPS + 1), 1.0
    for i in range(STEPS):
        v -= h / 2 * y[i]
        y[i + 1] = y[i] + h * v
        v -= h / 2 * y[i + 1]
    return y


def produce(seed: int) -> None:
    client, places, step = connect(), np.random.default_rng(seed), 0
    while not client.stop_requested():
        y, i = swing(), places.integers(-STEPS, STEPS + 1, size=(64, 1))
        x, y_there = i * math.pi / STEPS, np.sign(i) * y[abs(i)]
        client.put_snapshot(step, {"x": x.astype(np.float32), "y": y_there.astype(np.float32)})
        step += 1
    client.end_stream()


if __name__ == "__main__":
    try:
        produce(seed=int(sys.argv[1]))
    except ClientError as error:
        sys.exit(f"produce.py: {error}")
