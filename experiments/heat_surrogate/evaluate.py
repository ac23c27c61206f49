"""The examination: the last version jumps on plates that neither the trainer nor its judges have seen."""

from __future__ import annotations

import argparse

import numpy as np
from coupled import infer_jump
from heat import Member, plate_arguments, plate_from, relative_error
from names import EXAMINED, EXAMPLE, MODEL, run, write_report

from sim_clients import connect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--jumps", type=int, required=True)
    plate_arguments(parser)
    arguments = parser.parse_args()
    plate = plate_from(arguments)

    client = connect()
    version = client.model_version(MODEL)
    errors, persistence = [], []
    for seed in arguments.seeds:
        member = Member(plate, seed)
        u = member.initial
        for _ in range(arguments.jumps):
            source = member.next_source()
            answer = infer_jump(client, u, source, member.diffusivity, version)
            before, u = u, member.advance(u, source)
            errors.append(relative_error(answer, u))
            persistence.append(relative_error(before, u))
    client.raise_flag(EXAMINED)
    client.close()
    np.savez(EXAMPLE, before=before, source=source, truth=u, prediction=answer)
    write_report({"version": version, "errors": errors, "persistence": persistence})


if __name__ == "__main__":
    run(main)
