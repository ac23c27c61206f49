"""What a network answers to fields: in a gradient step, and where it is only asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from trainers.errors import TrainingRefused
from trainers.uncertainty import outputs_of


def answer_of(network: torch.nn.Module, fields: Mapping[str, torch.Tensor]) -> Any:
    """Return what a network answers, as it does: a tensor, (batch, …), or several of these.

    Args:
        fields: by their names, in the order of its arguments, each (batch, …).

    Raises:
        TrainingRefused: it cannot, and a field has another dtype than its parameters.
    """
    try:
        return network(*fields.values())
    except RuntimeError as error:
        wanted = next((each.dtype for each in network.parameters()), None)
        for name, field in fields.items():
            if wanted is not None and "dtype" in str(error) and field.dtype != wanted:
                found = str(field.dtype).removeprefix("torch.")
                needed = str(wanted).removeprefix("torch.")
                text = f"{needed}, which the network's parameters are, or converted in its forward()"
                raise TrainingRefused(f"field {name!r}", found, text) from error
        raise


def predicted(network: torch.nn.Module, fields: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return the outputs of a network that learns nothing by it, and leave it in the mode it is in.

    Args:
        fields: by their names, in the order of its arguments, each (batch, …), on any device.

    Returns:
        Each (batch, …), on the network's device; the first is what is compared with the target.

    Raises:
        TrainingRefused: as by `answer_of`, or it has several outputs and is none with a spread.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    there = {name: field.to(device) for name, field in fields.items()}
    learning = network.training
    network.eval()
    try:
        with torch.no_grad():
            return outputs_of(network, answer_of(network, there))
    finally:
        network.train(learning)
