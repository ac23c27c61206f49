"""From snapshots to posted networks: streams, buffers, the training loop, publishing."""

from trainers.errors import (
    CheckpointError,
    ExportMismatch,
    NonFiniteField,
    NonFiniteLoss,
    NoSamples,
    SampleError,
    StreamStalled,
    TrainerError,
)
from trainers.publish import Publisher, export
from trainers.reservoir import Buffer, Fifo, Reservoir
from trainers.stream import SnapshotStream
from trainers.train import Training, train

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
    "Training",
    "export",
    "train",
]
