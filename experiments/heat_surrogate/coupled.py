"""The solver that uses the network while it is being trained.

It alternates a jump of its own steps with a jump of the network's, answered in the database by the newest
version, and compares each answer with what its own steps make of the same field.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from heat import Field, Member, Plate, plate_arguments, plate_from, relative_error
from names import MODEL, run, write_report

from sim_clients import Client, InferenceFailed, ModelMissing, connect

LAST_JUMPS = 4
"""Jumps after the flag is raised: with the final version."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--until", metavar="FLAG", help="ends when this is raised, not with all")
    plate_arguments(parser)
    arguments = parser.parse_args()
    plate = plate_from(arguments)

    client = connect()
    coupled = Coupled(client, plate, Member(plate, arguments.seed))
    while not (client.flag_raised(arguments.until) if arguments.until else client.stop_requested()):
        coupled.step()
    for _ in range(LAST_JUMPS):
        coupled.step()
    client.close()
    write_report({"jumps": coupled.jumps, "failed": coupled.failed, "without_model": coupled.without_model})


class Coupled:
    """The plate of the coupled solver, and what its inferences were like."""

    def __init__(self, client: Client, plate: Plate, member: Member) -> None:
        self._client = client
        self._plate = plate
        self._member = member
        self._u = member.initial
        self.jumps: list[dict[str, float]] = []
        self.failed = 0
        self.without_model = 0

    def step(self) -> None:
        """Advance two jumps: one by solver steps, one by the network where there is one."""
        self._u = self._member.advance(self._u, self._member.next_source())
        source = self._member.next_source()
        truth = self._member.advance(self._u, source)
        self._u = self._by_network(source, truth)

    def _by_network(self, source: Field, truth: Field) -> Field:
        try:
            version = self._client.model_version(MODEL)
        except ModelMissing:
            self.without_model += 1
            return truth
        asked, before = time.time(), time.perf_counter()
        try:
            answer = infer_jump(self._client, self._u, source, self._member.diffusivity, version)
        except InferenceFailed as error:
            print(f"inference by version {version} failed, solver steps instead: {error}", flush=True)
            self.failed += 1
            return truth
        self.jumps.append(
            {
                "unix_time": asked,
                "inference_s": time.perf_counter() - before,
                "version": version,
                "error": relative_error(answer, truth),
                "persistence": relative_error(self._u, truth),
            }
        )
        return answer


def infer_jump(client: Client, u: Field, source: Field, diffusivity: float, version: int) -> Field:
    """Return the field one jump later as a version of the network sees it: (points, points), K."""
    fields = (u[None], source[None], np.array([[diffusivity]]))
    answer = client.infer(MODEL, *(field.astype(np.float32) for field in fields), version=version)
    return answer[0].astype(np.float64)


if __name__ == "__main__":
    run(main)
