"""Buffers: adding and drawing a sample, against stacking it into a batch, which every trainer does with it.

What is timed is a round of a batch: so many additions, then one draw of as many, from a buffer that is full.
Whether the time depends on how many samples it holds is seen by the two sizes. The samples are three fields
of 48 x 48 floats; a buffer moves references only, so that its own time does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from sim_clients import Snapshot
from tests.bench.measure import ROUNDS, Series, compare
from trainers import Fifo, Firo, Pairs, Reservoir
from trainers.batches import batch_of

BATCH = 16
FIELD = np.zeros((48, 48), np.float32)
SIZES = (1_000, 20_000)


def run(quick: bool) -> dict[str, Any]:
    """Measure every buffer with few samples and with many; figures are per sample added and drawn."""
    repeat, rounds = (50, 3) if quick else (500, ROUNDS)
    report = {}
    for held in SIZES:
        operations = {"batch_of": _stack(), **_samples(held), "Pairs": _pairs(held)}
        reference, *series = (
            Series(name, operation, repeat, requests=BATCH) for name, operation in operations.items()
        )
        report[f"{held} samples held"] = compare(reference, series, rounds=rounds)
    return report


def _sample() -> dict[str, Any]:
    return {"u": FIELD, "source": FIELD, "u_next": FIELD}


def _stack() -> Callable[[], object]:
    samples = [_sample() for _ in range(BATCH)]
    return lambda: batch_of(samples)


def _samples(held: int) -> dict[str, Callable[[], object]]:
    """Fifo and Firo have room for the next batch alone; a Reservoir drops as many as come in."""
    buffers = (Fifo(held + BATCH, seed=0), Firo(held + BATCH, seed=0), Reservoir(held, seed=0))
    return {type(buffer).__name__: _of(buffer, held) for buffer in buffers}


def _of(buffer: Fifo | Firo | Reservoir, held: int) -> Callable[[], object]:
    for _ in range(held):
        buffer.add(_sample())
    while isinstance(buffer, Reservoir) and buffer.unseen > held // 2:
        buffer.sample(BATCH)

    def operation() -> object:
        if buffer.room() < BATCH:  # now and then as many were drawn again as are new
            buffer.sample(held)
        for _ in range(BATCH):
            buffer.add(_sample())
        return buffer.sample(BATCH)

    return operation


def _pairs(held: int) -> Callable[[], object]:
    buffer, steps = Pairs(["u", "source"], "u", [1], snapshots=held, seed=0), count()
    fields = {"u": FIELD, "source": FIELD}

    def fill(number: int) -> None:
        for _ in range(number):
            buffer.add(Snapshot("heat_0", 0, next(steps), fields))

    fill(held)
    buffer.sample(held)

    def operation() -> object:
        fill(BATCH)
        return buffer.sample(BATCH)

    return operation
