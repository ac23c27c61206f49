"""From snapshots to samples: pairs of successive snapshots of one rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim_clients import Snapshot
from trainers.errors import TrainingRefused
from trainers.samples import Sample, fields_of, paired

PATIENCE = 200
"""So many snapshots may follow others at another distance than the jump before the first sample."""


class Pairing:
    """Makes a sample of two snapshots of the same rank that are `jump` steps apart.

    The sample has the inputs of the first and the target of the second: `{"u", "source", "u_next"}`. With a
    jump of 0 both are of the same snapshot. An input that is called "jump" is the jump itself.
    """

    def __init__(self, inputs: Sequence[str], target: str, jump: int) -> None:
        self._inputs = tuple(inputs)
        self._target = target
        self._jump = jump
        self._last: dict[str, tuple[int, Sample]] = {}
        self._fresh: set[str] = set()  # whose last one came after the last `settle`
        self._misses: int | None = 0
        """Snapshots so far that followed another one, and made no sample; None once one has."""

    def add(self, snapshot: Snapshot) -> Sample | None:
        """Return the sample that a snapshot completes, None where it follows no other.

        Raises:
            SampleError: it lacks a field that the network is trained on.
            TrainingRefused: no snapshots are a jump apart.
        """
        inputs, target = fields_of(snapshot, self._inputs), fields_of(snapshot, (self._target,))
        if self._jump == 0:
            return paired(self._inputs, self._target, inputs, target, 0)
        rank = f"{snapshot.producer}.{snapshot.rank}"
        before, self._last[rank] = self._last.get(rank), (snapshot.step, inputs)
        self._fresh.add(rank)
        if before is None:
            return None
        if snapshot.step - before[0] != self._jump:
            self._missed(rank, snapshot.step - before[0])
            return None
        self._misses = None
        return paired(self._inputs, self._target, before[1], target, self._jump)

    def _missed(self, rank: str, distance: int) -> None:
        if self._misses is None:
            return
        self._misses += 1
        if self._misses == PATIENCE:
            raise TrainingRefused(
                "jump",
                self._jump,
                f"the steps between two snapshots that follow each other: of {rank} they are {distance} "
                f"apart, and of {PATIENCE} that came no two were {self._jump} apart",
            )

    def settle(self, own: Callable[[Sample], Sample]) -> None:
        """Keep what has come in memory of its own."""
        for rank in self._fresh:
            step, inputs = self._last[rank]
            self._last[rank] = (step, own(inputs))
        self._fresh.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"last": {rank: list(last) for rank, last in self._last.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._fresh.clear()
        self._last = {rank: (step, inputs) for rank, (step, inputs) in state["last"].items()}
