"""Joining the databases beside a program: another program is given their addresses."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.environment import RUNTIME_DIR
from orchestrator.errors import UsageError, WaitTimeout, describe_exit
from orchestrator.hosts import this_host
from orchestrator.launchers.base import Job
from orchestrator.run_files import colocated_directory
from orchestrator.survey import SHOWN_PORT
from sim_clients.address import Address, HostPort

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


def shown_databases(job: Job) -> tuple[ColocatedDatabase, ...]:
    """Return what a preview shows in place of the databases beside a program, which has not been started.

    Raises:
        UsageError: it is not co-located.
    """
    _check_colocated(job)
    listening = json.loads(job.command[job.command.index(PROGRAM) + 1])
    hosts = job.placement.hosts if job.placement is not None else (this_host().name,)
    address = Address(unix_socket=Path(job.launch.environment[RUNTIME_DIR]) / f"{job.name}.sock")
    found = []
    for number, host in enumerate(hosts):
        if listening["port"] is not None:
            at = HostPort(f"{listening['interface']}.{host}", listening["port"] or SHOWN_PORT)
            address = Address(endpoints=(at,))
        found.append(ColocatedDatabase(_identifier(job, number), address, host))
    return tuple(found)


def colocated_databases(job: Job, timeout_s: float) -> tuple[ColocatedDatabase, ...]:
    """Return the databases beside a program, one for each of its hosts, once all are ready.

    Args:
        job: of a co-located program.
        timeout_s: how long to wait for them.

    Raises:
        UsageError: it is not co-located, or has ended.
        WaitTimeout: they were not ready in time.
    """
    _check_colocated(job)
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
    found: list[ColocatedDatabase] = []
    for file in sorted(colocated_directory(job.directory).glob("*.json")):
        with suppress(FileNotFoundError):  # it has just ended
            told = json.loads(file.read_text())
            address = Address.from_environment(environ=told["environment"])
            found.append(ColocatedDatabase(_identifier(job, len(found)), address, told["host"]))
    return found


def _check_colocated(job: Job) -> None:
    if PROGRAM not in job.command:
        raise UsageError(f"{job.name!r} has no database beside it: it is not started by colocate(...)")


def _identifier(job: Job, number: int) -> str:
    stem = re.sub(r"\W", "_", job.name, flags=re.ASCII)
    return f"{stem}_{number}"
