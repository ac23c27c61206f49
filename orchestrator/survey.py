"""What only a host itself can tell: its address on an interface, ports that are free there, its memory.

As a program, `python -m orchestrator.survey QUESTION`, it runs on a host where servers are to be started,
answers with a line of JSON, and ends.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

import psutil

from orchestrator.errors import PenstockError
from orchestrator.ports import BUS_OFFSET, check_port, free_ports, interface_address

PROGRAM = "orchestrator.survey"
SHOWN_PORT = 6379
"""From which a preview counts ports that only another host can choose."""


class Question(NamedTuple):
    """What is asked of a host.

    Attributes:
        interface: the network interface that servers are to listen on.
        servers: how many of them.
        first_port: theirs are this one and the following; 0 lets the operating system choose.
        with_bus: each has a cluster bus too.
    """

    interface: str
    servers: int
    first_port: int
    with_bus: bool


class Survey(NamedTuple):
    """What a host has told.

    Attributes:
        address: of the interface.
        ports: that are free there.
        memory_bytes: of the host.
    """

    address: str
    ports: tuple[int, ...]
    memory_bytes: int


def survey(question: Question) -> Survey:
    """Return what this host has to tell.

    Raises:
        UsageError: there is no such interface.
        PortError: a port is taken, or there are not enough.
    """
    address = interface_address(question.interface)
    ports = _ports(address, question)
    return Survey(address, tuple(ports), psutil.virtual_memory().total)


def read_answer(text: str) -> Survey | None:
    """Return what a host has told, from what the program has printed last; None where it has told nothing."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        return None
    told = json.loads(lines[-1])
    return Survey(told["address"], tuple(told["ports"]), told["memory_bytes"])


def _ports(address: str, question: Question) -> Sequence[int]:
    if not question.first_port:
        return free_ports(address, question.servers, with_bus=question.with_bus)
    chosen = range(question.first_port, question.first_port + question.servers)
    for port in chosen:
        check_port(address, port)
        if question.with_bus:
            check_port(address, port + BUS_OFFSET)
    return chosen


def main(question: str) -> int:
    """Answer a question, a list in JSON; return the exit code."""
    try:
        told = survey(Question(*json.loads(question)))
    except PenstockError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(told._asdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
