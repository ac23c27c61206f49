"""What is learned from: samples, made of two snapshots of one trajectory, and how they are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sim_clients import Snapshot
from sim_clients.fields import Array
from sim_clients.native_memory import Memory
from sim_clients.native_views import is_mapped
from trainers.errors import SampleError

Sample = dict[str, Array]
"""The inputs and the target of one evaluation of the network: name -> array, without a batch dimension."""

NEXT = "_next"
"""Suffix of a target: `u_next` is the field u one jump later."""

JUMP = "jump"
"""The input that is no field of a snapshot: the solver steps to the target, (1,) float32."""


class Numbered(dict[str, Array]):
    """A sample in a buffer: `number` additions came before it."""

    __slots__ = ("number",)

    def __init__(self, sample: Mapping[str, Array], number: int) -> None:
        super().__init__(sample)
        self.number = number


def fields_of(snapshot: Snapshot, names: Iterable[str]) -> Sample:
    """Return some fields of a snapshot; JUMP, which is none, is passed over.

    Raises:
        SampleError: it lacks one of them.
    """
    found = {}
    for name in names:
        if name == JUMP:
            continue
        if name not in snapshot.fields:
            raise SampleError(snapshot.name, name, tuple(snapshot.fields))
        found[name] = snapshot.fields[name]
    return found


def paired(
    inputs: Sequence[str], target: str, first: Mapping[str, Array], second: Mapping[str, Array], jump: int
) -> Sample:
    """Return the sample with the inputs at one step and the target so many steps later."""
    sample = {name: np.array([jump], np.float32) if name == JUMP else first[name] for name in inputs}
    return {**sample, target + NEXT: second[target]}


def owned(sample: Mapping[str, Array], memory: Memory) -> Sample:
    """Return a sample that outlives its snapshots: what lies in the database's memory is copied."""
    return {name: _copied(array, memory) if is_mapped(array) else array for name, array in sample.items()}


def _copied(array: Array, memory: Memory) -> Array:
    copy = memory.array(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def nbytes_of(sample: Mapping[str, Array]) -> int:
    """Return the bytes of its arrays. An array that two samples share counts in each."""
    return sum(array.nbytes for array in sample.values())
