"""Several processes that train one network together: what one asks of the others, and how it is answered.

torchrun starts the processes, its ranks. Each has the whole network and a share of the samples; the
gradients of a step are averaged over all of them by DistributedDataParallel (Li et al., VLDB 2020,
arXiv:2006.15704), so that the networks stay the same. Whatever must be the same everywhere is agreed on by
`numbers`, `gather` and `broadcast`, which every rank calls at the same place of the loop.

A rank that fails says why in the store of torchrun, which outlives it; the others find their connection to it
closed, or its answer missing for too long, and end with RankLost, which repeats the reason.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from traceback import clear_frames
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from trainers.errors import RankLost, TrainingRefused

WORDS_S = 3.0
"""How long a rank that has lost others waits for what they say of it."""
_LOST = ""
"""What a rank says that has only lost another one."""

Result = TypeVar("Result")


class Ranks(Protocol):
    """What the training loop asks of the processes it is one of."""

    @property
    def rank(self) -> int:
        """Which one this is, from 0; rank 0 judges, posts and writes the history."""
        ...

    @property
    def world(self) -> int:
        """How many there are."""
        ...

    def replicate(self, network: torch.nn.Module) -> torch.nn.Module:
        """Return what gradient steps run the network through; all ranks begin with rank 0's parameters."""
        ...

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the mean of all ranks' losses.

        Raises:
            RankLost
        """
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return the value of each rank, in their order; all wait for all.

        Raises:
            RankLost
        """
        ...

    def numbers(self, own: Sequence[float]) -> list[list[float]]:
        """Return the numbers of each rank, as many from each, in one small message.

        Raises:
            RankLost
        """
        ...

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return the value of one rank, at every rank.

        Raises:
            RankLost
        """
        ...


class SingleRank:
    """A process that trains alone: nothing is asked of anybody."""

    rank = 0
    world = 1

    def replicate(self, network: torch.nn.Module) -> torch.nn.Module:
        """Return the network itself."""
        return network

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def gather(self, value: Any) -> list[Any]:
        """Return the value alone."""
        return [value]

    def numbers(self, own: Sequence[float]) -> list[list[float]]:
        """Return the numbers alone."""
        return [list(own)]

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return the value."""
        return value


ALONE = SingleRank()


class ProcessRanks:
    """The ranks of a process group: gloo between processors, NCCL between GPUs."""

    def __init__(self, store: Store, rank: int, world: int) -> None:
        """Speak for one of them.

        Args:
            store: where the ranks leave their last words.
        """
        self._store = store
        self.rank = rank
        self.world = world
        self._replicas: list[DistributedDataParallel] = []

    def replicate(self, network: torch.nn.Module) -> torch.nn.Module:
        """Wrap the network: its gradients are averaged while they are computed."""
        self._replicas.append(self._together("wrap the network", lambda: DistributedDataParallel(network)))
        return self._replicas[-1]

    def leave(self) -> None:
        """Close the connections to the others, also where frames of an error still hold a replica.

        A thread of a connection that holds a tensor when Python ends would abort the process.
        """
        for replica in self._replicas:
            del replica.reducer, replica.logger, replica.process_group
        self._replicas.clear()
        dist.destroy_process_group()

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of the mean of all ranks' losses."""
        self._together("average gradients", loss.backward)

    def gather(self, value: Any) -> list[Any]:
        """Return the value of each rank, in their order."""
        values: list[Any] = [None] * self.world
        self._together("hear from all", lambda: dist.all_gather_object(values, value))
        return values

    def numbers(self, own: Sequence[float]) -> list[list[float]]:
        """Return the numbers of each rank, in their order."""
        sent = torch.tensor(own, dtype=torch.float64)
        received = [torch.empty_like(sent) for _ in range(self.world)]
        self._together("agree on a step", lambda: dist.all_gather(received, sent))
        return [each.tolist() for each in received]

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return the value of one rank."""
        values = [value]
        self._together("hear from one", lambda: dist.broadcast_object_list(values, src=source))
        return values[0]

    def say_why(self, error: BaseException) -> None:
        """Leave the reason of this rank's end for the others, and for the last lines that torchrun prints."""
        get_error_handler().record_exception(error)
        words = _LOST if isinstance(error, RankLost) else f"{type(error).__name__}: {error}"
        try:
            self._store.set(self._key(self.rank), words)
        except dist.DistError:
            return  # torchrun has ended too, and nobody is left to read it

    def _together(self, task: str, run: Callable[[], Result]) -> Result:
        try:
            return run()
        except RuntimeError as error:  # all that torch.distributed raises
            if not _is_of_the_connection(error):
                raise
            lost = RankLost(self.rank, self.world, task, self._last_words(error))
            clear_frames(error.__traceback__)  # those of torch hold the connections
            raise lost from error

    def _last_words(self, error: RuntimeError) -> dict[int, str]:
        """Return why ranks have failed; one that was killed has said nothing, which tells it from others."""
        others = [rank for rank in range(self.world) if rank != self.rank]
        try:
            self._store.set(self._key(self.rank), _LOST)
            self._wait_for(others)
            said = {rank: self._words_of(rank) for rank in others}
        except dist.DistError:
            return {}
        failed = {rank: words for rank, words in said.items() if words}
        return failed or {rank: "it was killed, or hangs" for rank, words in said.items() if words is None}

    def _wait_for(self, ranks: Sequence[int]) -> None:
        try:
            self._store.wait([self._key(rank) for rank in ranks], timedelta(seconds=WORDS_S))
        except dist.DistStoreError:
            return  # one of them says nothing

    def _words_of(self, rank: int) -> str | None:
        key = self._key(rank)
        return self._store.get(key).decode() if self._store.check([key]) else None

    @staticmethod
    def _key(rank: int) -> str:
        return f"left/{rank}"


@contextmanager
def joined(timeout_s: float) -> Iterator[Ranks]:
    """Join the ranks that torchrun has started; a process that it has not started is alone.

    Args:
        timeout_s: how long one rank may keep the others waiting before they give it up.

    Raises:
        TrainingRefused: the environment names several ranks, and not how they meet.
        RankLost: not all of them came.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SingleRank()
        return
    ranks = _meet(timeout_s)
    try:
        yield ranks
    except BaseException as error:
        ranks.say_why(error)
        raise
    finally:
        ranks.leave()


def _meet(timeout_s: float) -> ProcessRanks:
    import_module("torch.distributed.nn")  # imported later, its default arguments would keep the connections
    timeout = timedelta(seconds=timeout_s)
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store may be that of the life before
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ["WORLD_SIZE"])
        store, _, _ = next(iter(rendezvous("env://", timeout=timeout)))
        store = PrefixStore(f"penstock/{life}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    except ValueError as error:
        raise TrainingRefused(
            "WORLD_SIZE", os.environ["WORLD_SIZE"], f"that of torchrun ({error})"
        ) from error
    except dist.DistError as error:
        raise RankLost(rank, world, "meet them", {}) from error
    return ProcessRanks(store, rank, world)


def _is_of_the_connection(error: RuntimeError) -> bool:
    """Tell whether ranks have lost each other; gloo says so in the text alone."""
    text = str(error).lower()
    said = any(word in text for word in ("gloo", "connection", "timed out"))
    return said or isinstance(error, dist.DistError)
