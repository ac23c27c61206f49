"""What the ranks of a training must have alike: settings, buffer, network and loss, compared at the meeting.

Ranks that differ would train on and mean different things by a step, or meet the difference as a message of
torch's that names neither. What rank 0 alone asks, `until` and `terms`, may be anything elsewhere, and so may
the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from trainers.buffer import Buffer, Drawn
from trainers.distributed import Ranks
from trainers.errors import RanksDiffer, TrainingRefused
from trainers.losses import Loss
from trainers.pairs import Pairs
from trainers.samples import Sample
from trainers.settings import Training

Alike = dict[str, object]
"""What must be the same, by its name in words."""

_OF_RANK_0 = ("until", "terms")
_MISSING = "missing"


def check_alike(ranks: Ranks, own: Mapping[str, object]) -> None:
    """Compare what this rank has with what rank 0 has; all ranks call this together.

    Raises:
        RanksDiffer: a rank has something else; every rank raises it, of the first rank and setting.
    """
    first, *others = ranks.gather(own)
    for rank, theirs in enumerate(others, start=1):
        for name in dict.fromkeys((*first, *theirs)):
            value, expected = theirs.get(name, _MISSING), first.get(name, _MISSING)
            if value != expected:
                raise RanksDiffer(rank, ranks.world, name, value, expected)


def of_training(training: Training) -> Alike:
    """Return the settings of a training, but for what rank 0 alone may be given."""
    return {one.name: getattr(training, one.name) for one in fields(training) if one.name not in _OF_RANK_0}


def of_buffer(buffer: Buffer[Sample] | Pairs) -> Alike:
    """Return what a buffer was given; of one that is not ours its class and its watermark."""
    kind = {"kind": type(buffer).__name__, "watermark": buffer.watermark}
    given: dict[str, Any] = buffer.given() if isinstance(buffer, Drawn) else {}
    return {f"buffer's {name}": value for name, value in (kind | given).items()}


def of_network(network: torch.nn.Module) -> Alike:
    """Return the class of a network, and shape and dtype of each parameter and buffer of it.

    Raises:
        TrainingRefused: some get their shapes only when it is first run.
    """
    kind = type(network)
    parts = (*network.named_parameters(), *network.named_buffers())
    if any(is_lazy(tensor) for _, tensor in parts):
        wanted = "one that was run once on a sample, for ranks start with the same parameters"
        raise TrainingRefused("network", kind.__name__, wanted)
    layout = {f"network's {name}": _described(tensor) for name, tensor in parts}
    return {"network's kind": f"{kind.__module__}.{kind.__qualname__}", **layout}


def of_loss(loss: Loss) -> Alike:
    """Return the name of a loss."""
    return {"loss": getattr(loss, "__qualname__", type(loss).__qualname__)}


def _described(tensor: torch.Tensor) -> str:
    learned = "" if tensor.requires_grad else ", not learned"
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}{learned}"
