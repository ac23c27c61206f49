"""From the trainer to the solver: a network is exported, and posted when it is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sim_clients import Client, ModelMissing
from trainers.exporting import export
from trainers.formats import Format


class Publisher:
    """Posts a network whenever its validation loss is better than that of the last one posted."""

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        device: str = "CPU",
        improvement: float = 0.0,
        format: Format = Format.TORCHSCRIPT,
    ) -> None:
        """Post under a name.

        Args:
            format: what the networks are exported as.
            improvement: by which fraction of the last posted loss a network must be better.
        """
        self._client = client
        self._name = name
        self._device = device
        self._improvement = improvement
        self._format = format
        self.version = 0
        self.best_loss = float("inf")

    def offer(self, network: torch.nn.Module, example: Sequence[torch.Tensor], loss: float) -> int | None:
        """Post a network if it is better.

        Returns:
            The version it was posted as, None where it was not.

        Raises:
            ExportMismatch, ModelRejected, DatabaseUnavailable: nothing was posted, the live version stays.
        """
        if not loss < self.best_loss * (1 - self._improvement):
            return None
        archive = export(network, example, format=self._format)
        version = max(self.version, self._live_version()) + 1
        self._client.put_model(self._name, archive, version, device=self._device)
        self.version, self.best_loss = version, loss
        return version

    def is_lost(self) -> bool:
        """Tell whether the database has not what was posted last: it came back as it was before, or empty."""
        return self._live_version() < self.version

    def post_again(
        self, network: torch.nn.Module, example: Sequence[torch.Tensor], loss: float
    ) -> int | None:
        """Post a network whatever was posted before; raises what `offer` does."""
        self.best_loss = float("inf")
        return self.offer(network, example, loss)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"version": self.version, "best_loss": self.best_loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.version, self.best_loss = state["version"], state["best_loss"]

    def _live_version(self) -> int:
        try:
            return self._client.model_version(self._name)
        except ModelMissing:
            return 0
