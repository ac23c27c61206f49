"""From snapshots to posted networks: streams, buffers, publishing; the loop is `trainers.train`."""

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
    "export",
]
