"""Joining the databases beside a program: another program is given their addresses."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.errors import UsageError, WaitTimeout, describe_exit
from orchestrator.launchers.base import Job
from orchestrator.run_files import colocated_directory
from sim_clients.address import Address

INTERVAL_S = 0.01
PROGRAM = "orchestrator.colocated"
"""By which a program runs beside its database."""


@dataclass(frozen=True)
class ColocatedDatabase:
    """A database beside a program, on one of its hosts.

    Attributes:
        identifier: what tells it from those of the other hosts: `<program>_<number>`.
        address: where it is.
        host: its host.
    """

    identifier: str
    address: Address
    host: str


def colocated_databases(job: Job, timeout_s: float) -> tuple[ColocatedDatabase, ...]:
    """Return the databases beside a program, one for each of its hosts, once all are ready.

    Args:
        job: of a co-located program.
        timeout_s: how long to wait for them.

    Raises:
        UsageError: it is not co-located, or has ended.
        WaitTimeout: they were not ready in time.
    """
    if PROGRAM not in job.command:
        raise UsageError(f"{job.name!r} has no database beside it: it is not started by colocate(...)")
    deadline = time.monotonic() + timeout_s
    while True:
        found = _told(job)
        expected = len(job.placement.hosts) if job.placement is not None else 1
        if len(found) >= expected and not job.state.final:
            break
        if job.wait_ended(INTERVAL_S):
            why = job.reason or describe_exit(job.returncode)
            raise UsageError(f"{job.name!r}, and the databases beside it, have ended: it {why}")
        if time.monotonic() > deadline:
            raise WaitTimeout(
                f"the databases beside {job.name!r} ({len(found)} of {expected} are there)", timeout_s
            )
    return tuple(found)


def _told(job: Job) -> list[ColocatedDatabase]:
    """Return the databases that are there now."""
    stem = re.sub(r"\W", "_", job.name, flags=re.ASCII)
    found: list[ColocatedDatabase] = []
    for file in sorted(colocated_directory(job.directory).glob("*.json")):
        with suppress(FileNotFoundError):  # it has just ended
            told = json.loads(file.read_text())
            address = Address.from_environment(environ=told["environment"])
            found.append(ColocatedDatabase(f"{stem}_{len(found)}", address, told["host"]))
    return found
