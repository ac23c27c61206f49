"""Ranks as threads of the test: the same questions and answers as between processes, within a second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from trainers import RankLost
from trainers.distributed import Ranks

Result = TypeVar("Result")
DEADLINE_S = 30.0


class Meeting:
    """Where the threads meet: a place for the word of each, and a barrier."""

    def __init__(self, world: int) -> None:
        self.words: list[Any] = [None] * world
        self.barrier = threading.Barrier(world, timeout=DEADLINE_S)


class ThreadRanks:
    """One thread of them."""

    def __init__(self, rank: int, world: int, meeting: Meeting) -> None:
        self.rank = rank
        self.world = world
        self._meeting = meeting
        self._network = torch.nn.Module()

    def replicate(self, network: torch.nn.Module) -> torch.nn.Module:
        self._network = network
        network.load_state_dict(self.broadcast({k: v.clone() for k, v in network.state_dict().items()}))
        return network

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()
        parameters = list(self._network.parameters())
        for own, *gradients in zip(
            parameters, *self.gather([p.grad.clone() for p in parameters]), strict=True
        ):
            own.grad = torch.stack(gradients).mean(0)

    def gather(self, value: Any) -> list[Any]:
        try:
            self._meeting.words[self.rank] = value
            self._meeting.barrier.wait()
            words = list(self._meeting.words)
            self._meeting.barrier.wait()
        except threading.BrokenBarrierError as error:
            raise RankLost(self.rank, self.world, "meet", {}) from error
        return words

    def numbers(self, own: Sequence[float]) -> list[list[float]]:
        return self.gather([float(number) for number in own])

    def broadcast(self, value: Any, source: int = 0) -> Any:
        return self.gather(value)[source]


def on_ranks(world: int, run: Callable[[Ranks], Result]) -> list[Result]:
    """Run a function in so many threads; return what each did, or raise what the first to fail raised."""
    meeting = Meeting(world)
    failures: list[BaseException] = []

    def guarded(rank: int) -> Result:
        try:
            return run(ThreadRanks(rank, world, meeting))
        except BaseException as error:
            failures.append(error)
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(world) as threads:
        ends = [threads.submit(guarded, rank) for rank in range(world)]
    if failures:
        raise failures[0]
    return [end.result() for end in ends]
