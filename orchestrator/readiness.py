"""When a database is ready, and how it tells why it is not.

Ready means: each process we started (and no other) listens where it should, every shard knows the owner of
every slot, and a tensor was stored on each shard and read back, from its replicas too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from orchestrator.cluster import SLOTS, agreed, forget_placeholders, key_within, take_slots
from orchestrator.errors import DatabaseFailed, describe_exit
from orchestrator.hosts import is_here
from orchestrator.launchers.base import Job
from orchestrator.node import Node
from orchestrator.ports import listens
from orchestrator.run_files import tail
from orchestrator.shard import Shard, ShardError

START_TIMEOUT_S = 60.0
SLOWEST_BYTES_PER_S = 20e6
"""Of what a server reads from disk when it starts, or writes there."""
BUG_REPORT = r"=== \w+ BUG REPORT START"
"""What a server that crashes writes after the cause, several hundred lines of it."""
FIRST_INTERVAL_S, LONGEST_INTERVAL_S = 0.001, 0.02


def wait_ready(jobs: Sequence[Job], nodes: Sequence[Node], *, tensors: bool, timeout_s: float) -> None:
    """Wait until the nodes are a database that is ready; several take their slots first.

    Args:
        jobs: the nodes' processes, which have just been started.
        nodes: in the same order.
        tensors: whether they have a module that stores tensors.
        timeout_s: how long that may take; see `start_time_s`.

    Raises:
        DatabaseFailed: with the log of the shard that died or did not become ready.
    """
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        shards = [stack.enter_context(Shard(node.endpoint)) for node in nodes]
        pairs = list(zip(jobs, shards, strict=True))
        try:
            for pair in pairs:
                _await(pair, _is_up, "to answer", deadline)
            if nodes[0].slots is not None:
                _form_cluster(nodes, pairs, deadline)
            _check_storage(nodes, pairs, tensors, deadline)
        except ShardError as error:
            raise _refusal(jobs, error) from error


def _form_cluster(nodes: Sequence[Node], pairs: Sequence[tuple[Job, Shard]], deadline: float) -> None:
    """Let each shard's first node take its slots, and wait until all know of it."""
    shards = [shard for _, shard in pairs]
    for pair in pairs:
        _await(pair, lambda _, shard: shard.cluster_is_ok(), "to read its slot map", deadline)
    take_slots(nodes, shards)
    knows = agreed([node for node in nodes if node.replica == 0])
    for pair in pairs:
        _await(pair, lambda _, shard: knows(shard), "to agree on every slot", deadline)
    forget_placeholders(nodes, shards)


def await_server(job: Job, node: Node, deadline: float) -> None:
    """Wait until a server answers.

    Raises:
        DatabaseFailed: it ended, or did not in time.
    """
    with Shard(node.endpoint) as shard:
        _await((job, shard), _is_up, "to answer", deadline)


def await_agreement(
    jobs: Sequence[Job], nodes: Sequence[Node], knows: Callable[[Shard], bool], deadline: float
) -> None:
    """Wait until servers of a cluster know who owns the slots.

    Raises:
        DatabaseFailed: one ended, or did not in time.
    """
    for job, node in zip(jobs, nodes, strict=True):
        with Shard(node.endpoint) as shard:
            _await((job, shard), lambda _, shard: knows(shard), "to agree on every slot", deadline)


def begin_logs(jobs: Sequence[Job], nodes: Sequence[Node], timeout_s: float) -> None:
    """Let servers log every write from now on, and wait until what they have is in the log.

    Raises:
        DatabaseFailed: one ended, or its log was not there in time.
    """
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        pairs = [
            (job, stack.enter_context(Shard(node.endpoint))) for job, node in zip(jobs, nodes, strict=True)
        ]
        try:
            for _, shard in pairs:
                shard.log_writes()
            for pair in pairs:
                _await(pair, lambda _, shard: shard.has_logged(), "to log what it has", deadline)
        except ShardError as error:
            raise _refusal(jobs, error) from error


def start_time_s(directories: Iterable[Path]) -> float:
    """Return how long servers may take to start, each of which first reads what is in its directory."""
    sizes = (sum(path.stat().st_size for path in each.rglob("*") if path.is_file()) for each in directories)
    return START_TIMEOUT_S + max(sizes, default=0) / SLOWEST_BYTES_PER_S


def _is_up(job: Job, shard: Shard) -> bool:
    """Whether our process (not a stranger on its port) answers."""
    return is_ours(job, shard) and shard.answers()


def is_ours(job: Job, shard: Shard) -> bool:
    """Whether it is the process we started that listens there. Our sockets' directory is closed to others.

    That of another host is no process that we could look at: the server is asked for its directory.
    """
    endpoint = shard.endpoint
    if endpoint.unix_socket is not None:
        return endpoint.unix_socket.exists()
    if job.placement is not None and not all(map(is_here, job.placement.hosts)):
        return shard.runs_in(job.directory)
    return job.pid is not None and listens(job.pid, endpoint.port)


def _await(
    pair: tuple[Job, Shard], condition: Callable[[Job, Shard], bool], what: str, deadline: float
) -> None:
    """Ask until a condition holds; a shard that ends meanwhile is seen at once."""
    job = pair[0]
    for interval in _intervals():
        if condition(*pair):
            return
        if job.wait_ended(interval):
            raise shard_failure(job, f"{describe_exit(job.returncode)} at its start")
        if time.monotonic() > deadline:
            raise shard_failure(job, f"was waited for in vain {what}, {START_TIMEOUT_S:g} s and more")


def _intervals() -> Iterator[float]:
    interval = FIRST_INTERVAL_S
    while True:
        yield interval
        interval = min(interval * 1.3, LONGEST_INTERVAL_S)


def _check_storage(
    nodes: Sequence[Node], pairs: Sequence[tuple[Job, Shard]], tensors: bool, deadline: float
) -> None:
    """Store something through each shard, and wait until it has reached the replicas."""
    placed = list(zip(nodes, pairs, strict=True))
    for node, (job, shard) in placed:
        if node.replica:
            continue
        key = key_within(node.slots or range(SLOTS), "penstock.ready")
        shard.store(key, tensor=tensors)
        if not shard.has_stored(key, tensor=tensors):
            raise shard_failure(job, "did not give back what was stored")
        for replica in (pair for other, pair in placed if other.shard == node.shard and other.replica):
            _check_replica(replica, key, tensors, deadline)
        shard.remove(key)


def _check_replica(pair: tuple[Job, Shard], key: str, tensors: bool, deadline: float) -> None:
    _await(pair, lambda _, replica: replica.follows(), "to copy its shard", deadline)
    pair[1].serve_reads()
    said = "to get what its shard was given"
    _await(pair, lambda _, replica: replica.has_stored(key, tensor=tensors), said, deadline)


def shard_failure(job: Job, what: str) -> DatabaseFailed:
    """Return the error that tells how a shard failed."""
    return DatabaseFailed(
        f"the database's shard {job.name!r} {what}",
        name=job.name,
        command=job.command,
        returncode=job.returncode,
        log=job.log,
        log_tail=tail(job.log, until=BUG_REPORT),
    )


def _refusal(jobs: Sequence[Job], error: ShardError) -> DatabaseFailed:
    """A shard answered with an error, or ended under our hands: show the log of one that has ended."""
    job = next((job for job in jobs if job.wait_ended(0.2)), jobs[0])
    return DatabaseFailed(
        f"the database did not become ready: {error}",
        name=job.name,
        command=job.command,
        returncode=job.returncode,
        log=job.log,
        log_tail=tail(job.log, until=BUG_REPORT),
    )
