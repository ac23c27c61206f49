"""A solver: swings y'' = -y from y(0) = 0, y'(0) = 1 by small steps, and pushes y at random places."""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from sim_clients import Client, ClientError, connect

STEPS = 20_000


def swing() -> np.ndarray:
    """Return y on a regular grid over [-pi, pi], by leapfrog steps from the middle to both ends."""
    h, y, v = math.pi / STEPS, 0.0, 1.0
    half = np.empty(STEPS + 1)
    for i in range(STEPS + 1):
        half[i] = y
        v -= h / 2 * y
        y += h * v
        v -= h / 2 * y
    return np.concatenate([-half[:0:-1], half])


def produce(client: Client, seed: int) -> None:
    places = np.random.default_rng(seed)
    step = 0
    while not client.flag_raised("learned"):
        y = swing()
        i = places.integers(len(y), size=(64, 1))
        x = (i - STEPS) * math.pi / STEPS
        client.put_snapshot(step, {"x": x.astype(np.float32), "y": y[i].astype(np.float32)})
        step += 1
    client.end_stream()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    try:
        produce(connect(), parser.parse_args().seed)
    except ClientError as error:
        sys.exit(f"produce.py: {error}")
