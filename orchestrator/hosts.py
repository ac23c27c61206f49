"""The hosts there are, and what each has for us: cores, GPUs, memory. Text is read without I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
MOST = 1 << 16
"""Cores or GPUs of a host that is described in a word; more is a slip of the finger."""
WRITTEN = re.compile(r"(?P<name>[^:]*):(?P<cores>\d+)(:(?P<gpus>\d+))?")


@dataclass(frozen=True)
class Host:
    """What one host has for us.

    Attributes:
        name: by which other hosts reach it.
        cores: the numbers of its cores, as its operating system has them.
        gpus: the numbers of its GPUs.
        memory_gb: how much memory programs may ask for; None where nobody knows, and it is not counted.
    """

    name: str
    cores: tuple[int, ...]
    gpus: tuple[int, ...] = ()
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UsageError(f"{self.name!r} cannot be the name of a host")
        for what in ("cores", "gpus"):
            object.__setattr__(self, what, _numbers(self.name, what, getattr(self, what)))
        if not self.cores:
            raise UsageError(f"the host {self.name!r} has no cores")
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise UsageError(f"Host({self.name!r}, memory_gb={self.memory_gb!r}): must be greater than 0")


@dataclass(frozen=True)
class Inventory:
    """The hosts among which programs are placed, in the order in which they are filled."""

    hosts: tuple[Host, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", tuple(self.hosts))
        if not self.hosts:
            raise UsageError("an inventory needs at least one host")
        names = [host.name for host in self.hosts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"a host is named twice: {', '.join(twice)}")

    @property
    def core_count(self) -> int:
        """The cores of all hosts together."""
        return sum(len(host.cores) for host in self.hosts)


def this_host() -> Host:
    """Return this host, with the cores this process may use and the NVIDIA GPUs there are."""
    devices = Path("/dev").glob("nvidia[0-9]*")
    gpus = sorted(int(device.name.removeprefix("nvidia")) for device in devices)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return Host(os.uname().nodename, tuple(sorted(os.sched_getaffinity(0))), tuple(gpus), memory)


def is_here(name: str) -> bool:
    """Tell whether a name is that of this host, with a domain or without."""
    own = os.uname().nodename
    return name in ("localhost", own, own.partition(".")[0]) or name.startswith(f"{own}.")


def parse_hosts(text: str) -> Inventory:
    """Return the hosts of `a:8,b:8`: names with their number of cores, and `a:8:2` with two GPUs as well.

    Raises:
        UsageError: naming what cannot be read.
    """
    return Inventory(tuple(_parse_host(part.strip()) for part in text.split(",")))


def numbers_text(numbers: Iterable[int]) -> str:
    """Return numbers as ranges, the way taskset reads them: `0-3,6`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] + 1 == number:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _parse_host(text: str) -> Host:
    written = WRITTEN.fullmatch(text)
    if written is None:
        raise UsageError(f"{text!r} is no host: write NAME:CORES or NAME:CORES:GPUS, as in node1:8,node2:8:2")
    cores, gpus = int(written["cores"]), int(written["gpus"] or 0)
    if max(cores, gpus) > MOST:
        raise UsageError(f"{text!r} is no host: at most {MOST} cores and GPUs are believed")
    return Host(written["name"], tuple(range(cores)), tuple(range(gpus)))


def _numbers(host: str, what: str, given: Iterable[int]) -> tuple[int, ...]:
    numbers = tuple(given)
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if not whole or any(number < 0 for number in numbers) or len(set(numbers)) < len(numbers):
        raise UsageError(f"Host({host!r}, {what}={numbers!r}): must be numbers, each from 0 and once")
    return numbers
