"""From snapshots to posted networks: streams, buffers, publishing; the loop is `trainers.train`.

Names are brought in when they are first used: who reads a history or a buffer need not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.buffer import Buffer
    from trainers.errors import (
        BufferEmpty,
        BufferFull,
        BufferRefused,
        CheckpointError,
        CheckpointNotWritten,
        ExportFailed,
        ExportMismatch,
        FileNotWritten,
        NonFiniteField,
        NonFiniteLoss,
        NoSamples,
        RankLost,
        RanksDiffer,
        RuleFailed,
        SampleError,
        SampleTooLarge,
        StreamStalled,
        StreamTaken,
        TrainerError,
        TrainingRefused,
        TrainingStopped,
    )
    from trainers.exporting import export
    from trainers.formats import Format
    from trainers.pairs import Pairs
    from trainers.publish import Publisher
    from trainers.reservoir import Fifo, Firo, Reservoir, buffer_named
    from trainers.stream import SnapshotStream
    from trainers.uncertainty import DeepEnsemble, McDropout

__all__ = [
    "Buffer",
    "BufferEmpty",
    "BufferFull",
    "BufferRefused",
    "CheckpointError",
    "CheckpointNotWritten",
    "DeepEnsemble",
    "ExportFailed",
    "ExportMismatch",
    "Fifo",
    "FileNotWritten",
    "Firo",
    "Format",
    "McDropout",
    "NoSamples",
    "NonFiniteField",
    "NonFiniteLoss",
    "Pairs",
    "Publisher",
    "RankLost",
    "RanksDiffer",
    "Reservoir",
    "RuleFailed",
    "SampleError",
    "SampleTooLarge",
    "SnapshotStream",
    "StreamStalled",
    "StreamTaken",
    "TrainerError",
    "TrainingRefused",
    "TrainingStopped",
    "buffer_named",
    "export",
]

_HOMES = {
    "Buffer": "trainers.buffer",
    "BufferEmpty": "trainers.errors",
    "BufferFull": "trainers.errors",
    "BufferRefused": "trainers.errors",
    "CheckpointError": "trainers.errors",
    "CheckpointNotWritten": "trainers.errors",
    "DeepEnsemble": "trainers.uncertainty",
    "ExportFailed": "trainers.errors",
    "ExportMismatch": "trainers.errors",
    "FileNotWritten": "trainers.errors",
    "Fifo": "trainers.reservoir",
    "Firo": "trainers.reservoir",
    "Format": "trainers.formats",
    "McDropout": "trainers.uncertainty",
    "NoSamples": "trainers.errors",
    "NonFiniteField": "trainers.errors",
    "NonFiniteLoss": "trainers.errors",
    "Pairs": "trainers.pairs",
    "Publisher": "trainers.publish",
    "RankLost": "trainers.errors",
    "RanksDiffer": "trainers.errors",
    "Reservoir": "trainers.reservoir",
    "RuleFailed": "trainers.errors",
    "SampleError": "trainers.errors",
    "SampleTooLarge": "trainers.errors",
    "SnapshotStream": "trainers.stream",
    "StreamStalled": "trainers.errors",
    "StreamTaken": "trainers.errors",
    "TrainerError": "trainers.errors",
    "TrainingRefused": "trainers.errors",
    "TrainingStopped": "trainers.errors",
    "buffer_named": "trainers.reservoir",
    "export": "trainers.exporting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'trainers' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
