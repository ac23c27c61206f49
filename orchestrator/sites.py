"""Where the servers of a database listen: each host is asked, for none can tell of another's ports.

This host is asked by a call; each other one by a small program, survey.py, that the launcher starts there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.deployment import Orchestrator
from orchestrator.errors import DatabaseFailed, UsageError, WaitTimeout, describe_exit
from orchestrator.hosts import is_here
from orchestrator.launchers.base import Job, Launch
from orchestrator.node import Node
from orchestrator.placement import Placement
from orchestrator.ports import is_loopback
from orchestrator.redis_config import Endpoint
from orchestrator.run_files import RunFiles, log_of, tail
from orchestrator.survey import PROGRAM, SHOWN_PORT, Question, Survey, read_answer, survey

ANSWER_TIMEOUT_S = 60.0
HERE = ""


@dataclass(frozen=True)
class Site:
    """Where one server listens, and the memory of its host; None is that of the driver's."""

    endpoint: Endpoint
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Sites:
    """The sites of one database.

    Attributes:
        orchestrator: what the database is to be.
        files: of its run.
        name: of the database.
        places: of its servers, by their names; one without a place is on this host.
        start: starts a program.
        dry: nothing is started, so other hosts are not asked.
    """

    orchestrator: Orchestrator
    files: RunFiles
    name: str
    places: Mapping[str, Placement]
    start: Callable[[Launch], Job]
    dry: bool = False

    def check(self, names: Sequence[str]) -> None:
        """Refuse an interface of this host that cannot be right, before anything is built or started."""
        if HERE in map(self._host, names):
            self.orchestrator.check_interface()

    def choose(self, names: Sequence[str]) -> list[Site]:
        """Return where the servers of these names are to listen.

        Raises:
            UsageError: a host has no such interface, or it must not be opened.
            PortError: a port is taken.
            DatabaseFailed: another host did not tell; says why.
            WaitTimeout: likewise.
        """
        if self.orchestrator.private:
            return [Site(Endpoint(unix_socket=self.files.socket(self.name)))]
        hosts = [self._host(name) for name in names]
        told = self._ask({host: hosts.count(host) for host in hosts}, self.orchestrator.port or 0)
        ports = {host: iter(each.ports) for host, each in told.items()}
        return [_site(host, told[host], next(ports[host])) for host in hosts]

    def another(self, node: Node) -> Node:
        """Return a server that is to start again, where no client looks for it until it has its data.

        SmartRedis tries again where nothing listens, and gives up where a server answers that it is loading,
        or that its cluster is down.
        """
        at = node.endpoint
        if at.unix_socket is not None:
            return replace(node, endpoint=Endpoint(unix_socket=at.unix_socket.with_suffix(".new")))
        host = self._host(node.name)
        (port,) = self._ask({host: 1}, 0)[host].ports
        return replace(node, endpoint=Endpoint(at.host, port))

    def _host(self, name: str) -> str:
        placement = self.places.get(name)
        return HERE if placement is None or is_here(placement.hosts[0]) else placement.hosts[0]

    def _ask(self, counts: Mapping[str, int], first_port: int) -> dict[str, Survey]:
        interface, with_bus = self.orchestrator.interface, self.orchestrator.clustered
        questions = {host: Question(interface, n, first_port, with_bus) for host, n in counts.items()}
        told: dict[str, Survey] = {}
        if HERE in questions:
            told[HERE] = survey(questions.pop(HERE))
        if self.dry:
            return told | {host: _shown(host, question) for host, question in questions.items()}
        jobs: dict[str, Job] = {}
        try:
            for host, question in questions.items():
                jobs[host] = self.start(self._launch(host, question))
            deadline = time.monotonic() + ANSWER_TIMEOUT_S
            return told | {host: _answer(host, job, deadline) for host, job in jobs.items()}
        finally:
            for job in jobs.values():
                job.stop()

    def _launch(self, host: str, question: Question) -> Launch:
        """Return how a host is asked: on the cores of a server there, for a moment before it starts."""
        name = f"{self.name}_on_{host}"
        directory = self.files.directory / self.name / f"on_{host}"
        placement = next(each for each in self.places.values() if each.hosts[0] == host)
        command = (sys.executable, "-m", PROGRAM, json.dumps(question))
        root = {"PYTHONPATH": str(Path(__file__).absolute().parent.parent)}
        return Launch(name, command, directory, log_of(directory), root, placement)


def _site(host: str, told: Survey, port: int) -> Site:
    return Site(Endpoint(told.address, port), None if host == HERE else told.memory_bytes)


def _shown(host: str, question: Question) -> Survey:
    """Return what a preview shows in place of what another host would tell."""
    first = question.first_port or SHOWN_PORT
    return Survey(f"{question.interface}.{host}", tuple(range(first, first + question.servers)), 0)


def _answer(host: str, job: Job, deadline: float) -> Survey:
    if not job.wait_ended(max(0.0, deadline - time.monotonic())):
        raise WaitTimeout(f"the host {host!r} to tell where a server could listen there", ANSWER_TIMEOUT_S)
    said = tail(job.log)
    told = read_answer(said) if job.returncode == 0 else None
    if told is None:
        raise DatabaseFailed(
            f"the host {host!r} did not tell where a server could listen there: the program that asks it "
            f"{job.reason or describe_exit(job.returncode)}",
            name=job.name,
            command=job.command,
            returncode=job.returncode,
            log=job.log,
            log_tail=said,
        )
    if is_loopback(told.address):
        raise UsageError(
            f"the interface of the database is {told.address} on {host!r}, which no other host reaches"
        )
    return told
