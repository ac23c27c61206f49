"""One solver of the ensemble: a snapshot before every jump, plate after plate, until the trainer is done."""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from heat import Member, Plate, plate_arguments, plate_from
from names import run, write_report

from sim_clients import Client, Field, connect

UNITS = {"u": "K", "source": "K s-1", "diffusivity": "m2 s-1"}
NICENESS = 10
"""On a laptop the solvers share two cores with the trainer; here it is the one that must not starve."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--waves", type=int, required=True)
    parser.add_argument("--wave_jumps", type=int, required=True)
    plate_arguments(parser)
    given = parser.parse_args()
    os.nice(NICENESS)

    client = connect()
    waves = 0
    while waves < given.waves and not client.stop_requested():
        simulate_wave(client, plate_from(given), given.seed, waves, given.wave_jumps)
        waves += 1
    client.end_stream()
    client.close()
    snapshots = waves * (given.wave_jumps + 1)
    write_report({"ended": time.time(), "snapshots": snapshots})


def simulate_wave(client: Client, plate: Plate, seed: int, wave: int, jumps: int) -> None:
    """Simulate a new plate over some jumps; steps leave a gap between waves, so that no pair spans two."""
    member = Member(plate, seed, wave)
    u, first = member.initial, wave * (jumps + 2)
    for jump in range(first, first + jumps + 1):
        source = member.next_source()
        fields = {"u": u, "source": source, "diffusivity": np.array([member.diffusivity])}
        single = {name: Field(field.astype(np.float32), UNITS[name]) for name, field in fields.items()}
        client.put_snapshot(jump * plate.jump_steps, single, time=jump * plate.jump_time)
        u = member.advance(u, source)


if __name__ == "__main__":
    run(main)
