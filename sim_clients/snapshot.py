"""A snapshot: the fields of one rank at one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True)
class Snapshot:
    """The fields of one rank at one step.

    Attributes:
        producer: name of the application or ensemble member that made it.
        rank: MPI rank within the producer, 0 for a serial solver.
        step: the solver's step.
        fields: name -> array.
        time: physical time in s, None where the solver gave none.
    """

    producer: str
    rank: int
    step: int
    fields: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    time: float | None = None
