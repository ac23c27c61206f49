"""From samples to batches: each field stacked into one tensor, and on its way to the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sim_clients.fields import Array
from sim_clients.native_memory import Memory
from trainers.samples import Sample

Batch = dict[str, torch.Tensor]
"""Name -> (samples, …) tensor."""


def batch_of(samples: Sequence[Sample], memory: Memory | None = None) -> Batch:
    """Stack samples: each field becomes `(len(samples), …)`.

    Args:
        memory: of batches that nobody has any more, to be used again; new memory by default. On another than
            the main thread the allocator gives memory back to the system each time, and clearing new pages
            takes five times as long as stacking.
    """
    return {name: torch.from_numpy(_stacked([one[name] for one in samples], memory)) for name in samples[0]}


def _stacked(fields: list[Array], memory: Memory | None) -> Array:
    if memory is None:
        return np.stack(fields)
    return np.stack(fields, out=memory.array((len(fields), *fields[0].shape), fields[0].dtype))


def rows_of(batch: Batch) -> list[Sample]:
    """Return the samples of a batch in main memory, as views of it."""
    return [{name: tensor[i].numpy() for name, tensor in batch.items()} for i in range(size_of(batch))]


def pinned(batch: Batch, device: torch.device) -> Batch:
    """Return a batch in page-locked memory, from where a GPU fetches it by itself; for a CPU, as it is."""
    if device.type != "cuda":
        return batch
    return {name: tensor.pin_memory() for name, tensor in batch.items()}


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device; what is pinned is on its way there when this returns."""
    if device.type == "cpu":
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def first_of(batch: Batch) -> Batch:
    """Return a batch of the first sample alone, in memory of its own, that any process can be sent."""
    return {name: tensor[:1].detach().cpu().clone() for name, tensor in batch.items()}


def size_of(batch: Batch) -> int:
    """Return how many samples a batch has."""
    return len(next(iter(batch.values())))
