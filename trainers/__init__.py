"""From snapshots to posted networks: streams, buffers, publishing; the loop is `trainers.train`.

Names are brought in when they are first used: who reads a history or a buffer need not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.errors import (
        CheckpointError,
        ExportMismatch,
        NonFiniteField,
        NonFiniteLoss,
        NoSamples,
        SampleError,
        StreamStalled,
        TrainerError,
        TrainingRefused,
        TrainingStopped,
    )
    from trainers.publish import Publisher, export
    from trainers.reservoir import Buffer, Fifo, Reservoir
    from trainers.stream import SnapshotStream

__all__ = [
    "Buffer",
    "CheckpointError",
    "ExportMismatch",
    "Fifo",
    "NoSamples",
    "NonFiniteField",
    "NonFiniteLoss",
    "Publisher",
    "Reservoir",
    "SampleError",
    "SnapshotStream",
    "StreamStalled",
    "TrainerError",
    "TrainingRefused",
    "TrainingStopped",
    "export",
]

_HOMES = {
    "Buffer": "trainers.reservoir",
    "CheckpointError": "trainers.errors",
    "ExportMismatch": "trainers.errors",
    "Fifo": "trainers.reservoir",
    "NoSamples": "trainers.errors",
    "NonFiniteField": "trainers.errors",
    "NonFiniteLoss": "trainers.errors",
    "Publisher": "trainers.publish",
    "Reservoir": "trainers.reservoir",
    "SampleError": "trainers.errors",
    "SnapshotStream": "trainers.stream",
    "StreamStalled": "trainers.errors",
    "TrainerError": "trainers.errors",
    "TrainingRefused": "trainers.errors",
    "TrainingStopped": "trainers.errors",
    "export": "trainers.publish",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainers' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
