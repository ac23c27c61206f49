"""The checkpoint of a training: one file, either old or new, and one more for each further rank's share.

The directory is the same for all ranks. Each writes its share beside the checkpoint, under one of two names
in turn; then rank 0 writes the checkpoint, which names them. So at any moment the checkpoint and the shares
that it names belong together. What is not named any more is removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers import checkpoint
from trainers.distributed import Ranks
from trainers.errors import CheckpointError
from trainers.redistribution import Owns, loader_of

SHARES = "shares"
STREAMS = "streams"


class SharedCheckpoint:
    """The checkpoint of all ranks, as one of them writes and reads it."""

    def __init__(self, path: Path, ranks: Ranks) -> None:
        self._path = path
        self._ranks = ranks
        self._turn = 0

    def save(self, common: Mapping[str, Any], loader: dict[str, Any]) -> int:
        """Write a checkpoint; all ranks call this together.

        Args:
            common: what all ranks have alike; rank 0's is written.
            loader: the state of this rank's loader.

        Returns:
            The position of the stream before which all is in it.

        Raises:
            RankLost; OSError: the checkpoint is as it was.
        """
        self._turn = 1 - self._turn
        names = [self._name(rank) for rank in range(1, self._ranks.world)]
        if self._ranks.rank > 0:
            checkpoint.save(self._path.with_name(self._name(self._ranks.rank)), loader)
        streams = self._ranks.gather(loader["intake"]["stream"])  # and every share is written
        if self._ranks.rank == 0:
            whole = {**common, "loader": loader, SHARES: names, STREAMS: streams, "turn": self._turn}
            checkpoint.save(self._path, whole)
            for file in self._path.parent.iterdir():
                if self._is_share(file.name) and file.name not in names:
                    file.unlink()
        self._ranks.broadcast(None)  # nobody writes under the other name before this one is in force
        return int(min(stream["cursor"] for stream in streams))

    def load(self, owns: Owns) -> dict[str, Any] | None:
        """Read what this rank goes on with, None where there is no checkpoint.

        Args:
            owns: tells which trajectories are this rank's.

        Raises:
            CheckpointError: it is garbage, or a share is missing.
        """
        state = checkpoint.load(self._path)
        if state is None:
            return None
        try:
            self._turn = state["turn"]
            loaders = [state["loader"], *({"intake": {"stream": each}} for each in state[STREAMS][1:])]
            for rank, name in enumerate(state[SHARES], start=1):
                if len(loaders) != self._ranks.world or rank == self._ranks.rank:
                    loaders[rank] = self._share(name)
            return {**state, "loader": loader_of(loaders, self._ranks.rank, self._ranks.world, owns)}
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(self._path, f"it is of another training: {error!r}") from error

    def _share(self, name: str) -> dict[str, Any]:
        path = self._path.with_name(name)
        state = checkpoint.load(path)
        if state is None:
            raise CheckpointError(path, f"it is missing, and {self._path.name} names it")
        return state

    def _is_share(self, name: str) -> bool:
        """Tell whether a file's name is one that `_name` gives: the others are the user's."""
        return re.fullmatch(re.escape(self._path.name) + r"\.[0-9]+of[0-9]+\.[01]", name) is not None

    def _name(self, rank: int) -> str:
        return f"{self._path.name}.{rank}of{self._ranks.world}.{self._turn}"
