"""A history as TensorBoard's event files: the only file that knows the package tensorboard.

tensorboard --logdir runs/heat_surrogate
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from trainers.errors import TrainingRefused
from trainers.history import EVENT

FOLDER = "tensorboard"
_TIMES = ("unix_time", "seconds", "step")


class Board:
    """Writes each line of a history for TensorBoard: numbers as scalars, versions and events as texts.

    Args:
        directory: of the training; the files come into its `tensorboard/`.

    Raises:
        TrainingRefused: the package tensorboard is missing, or cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        try:
            self._new = import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise TrainingRefused(
                "tensorboard",
                True,
                "False, or the package tensorboard installed: pip install tensorboard, or "
                f"penstock[tensorboard] ({error})",
            ) from error
        self._directory = directory / FOLDER
        self._writer: Any = None
        self._step = 0

    def take(self, line: Mapping[str, Any]) -> None:
        """Write a line; it is in the file when this returns."""
        self._step = int(line.get("step", self._step))
        if self._writer is None:  # what an earlier life wrote of later steps, TensorBoard does not show
            self._writer = self._new(str(self._directory), purge_step=self._step)
        when = line["unix_time"]
        if EVENT in line:
            text = ", ".join(f"{name} {value}" for name, value in line.items() if name not in _TIMES)
            self._writer.add_text(str(line[EVENT]), text, self._step, walltime=when)
        else:
            for name, value in line.items():
                if name not in _TIMES and isinstance(value, (int, float)):
                    self._writer.add_scalar(name, value, self._step, walltime=when)
            if line.get("version"):
                text = f"posted as version {line['version']}"
                self._writer.add_text("posted", text, self._step, walltime=when)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
