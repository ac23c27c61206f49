"""One solver of the ensemble: pushes a snapshot before every jump until the trainer has learned enough."""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from heat import Member, plate_arguments, plate_from
from names import TRAINED, run, write_report

from sim_clients import connect

NICENESS = 10
"""On a laptop the solvers share two cores with the trainer; here it is the one that must not starve."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--max_jumps", type=int, required=True)
    plate_arguments(parser)
    arguments = parser.parse_args()
    plate = plate_from(arguments)
    member = Member(plate, arguments.seed)
    os.nice(NICENESS)

    client = connect()
    started, jump, u = time.time(), 0, member.initial
    while jump < arguments.max_jumps and not client.flag_raised(TRAINED):
        source = member.next_source()
        fields = {
            "u": u.astype(np.float32),
            "source": source.astype(np.float32),
            "diffusivity": np.array([member.diffusivity], np.float32),
        }
        client.put_snapshot(jump * plate.jump_steps, fields, time=jump * plate.jump_time)
        u = member.advance(u, source)
        jump += 1
    client.end_stream()
    client.close()
    write_report({"started": started, "ended": time.time(), "snapshots": jump})


if __name__ == "__main__":
    run(main)
