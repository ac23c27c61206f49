"""Reaching the databases of a run from a process that the run has not started, by its directory."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RunError
from orchestrator.node import Node
from orchestrator.record import DatabaseEntry, Run, run_at
from orchestrator.saved import SAVE_TIMEOUT_S, SavedDatabase, save
from orchestrator.status import DatabaseStatus, database_status
from sim_clients import Client, connect
from sim_clients.address import Address


@dataclass(frozen=True)
class RunningDatabase:
    """A database that another process has started.

    Attributes:
        identifier: what tells it from the others of its run.
        address: where programs find it.
        nodes: its servers.
    """

    identifier: str
    address: Address
    nodes: tuple[Node, ...]

    def client(self, producer: str | None = None, rank: int | None = None) -> Client:
        """Return a client of it.

        Args:
            producer: name to announce snapshots under.
            rank: within the producer.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        return connect(self.address, producer=producer, rank=rank)

    def environment(self) -> dict[str, str]:
        """Return the variables by which a program finds it, by its identifier and by none."""
        return {**self.address.environment(), **self.address.environment(self.identifier)}

    def status(self) -> DatabaseStatus:
        """Ask every server for its role, memory, slots and keys."""
        return database_status(self.identifier, self.nodes)

    def snapshot(self, directory: str | Path, timeout_s: float = SAVE_TIMEOUT_S) -> SavedDatabase:
        """Save all data to disk; see `Database.snapshot`."""
        return save(self.nodes, Path(directory).absolute(), timeout_s)


@dataclass(frozen=True)
class RunningExperiment:
    """A run that goes on in another process.

    Attributes:
        run_id: its id.
        run_dir: its directory.
        databases: by identifier, "" for one without; in the order of their start.
    """

    run_id: str
    run_dir: Path
    databases: Mapping[str, RunningDatabase]

    def database(self, identifier: str = "") -> RunningDatabase:
        """Return one of its databases, by default the one without an identifier, else the first.

        Raises:
            RunError: it has none, or none of this identifier; names those it has.
        """
        return _running(run_at(self.run_dir).database(identifier))


def reconnect(run_dir: str | Path) -> RunningExperiment:
    """Return the databases of a run, from any process that sees its directory.

    Args:
        run_dir: the directory of the run, as `exp.run_dir` names it.

    Raises:
        RunError: there is no run, it has ended, or its databases cannot be reached from this host.
    """
    directory = Path(run_dir).absolute()
    run = run_at(directory)
    _check_goes_on(run)
    databases = {entry.identifier: _running(entry) for entry in run.record.databases}
    return RunningExperiment(run.run_id, directory, databases)


def _running(entry: DatabaseEntry) -> RunningDatabase:
    address = Address.from_environment(entry.identifier, entry.environment)
    return RunningDatabase(entry.identifier, address, tuple(each.node() for each in entry.nodes))


def _check_goes_on(run: Run) -> None:
    """Refuse a run that has ended. Of one on another host only its record tells."""
    record = run.record
    elsewhere = record.host != socket.gethostname()
    if record.state != "active":
        raise RunError(f"the run {run.run_id} in {run.directory} has ended: {record.state}", run=run.run_id)
    if not elsewhere and not run.alive:
        raise RunError(
            f"the run {run.run_id} in {run.directory} has ended: its driver was killed; "
            "`penstock stop` cleans up after it",
            run=run.run_id,
        )
    local = [entry for entry in record.databases if entry.nodes and entry.nodes[0].unix_socket is not None]
    if elsewhere and local:
        raise RunError(
            f"the run {run.run_id} is on the host {record.host}, and its database listens on a Unix socket "
            "there; Orchestrator(port=0, interface=..., open_port=True) can be reached from other hosts",
            run=run.run_id,
        )
