"""Keeping a database going when one of its servers dies.

A server has two Jobs: the launcher's, of one process, and the Keeper's, which ends only where nothing has
taken its place. So nobody but the Keeper sees the end of a process that is made good. One thread does that,
and the ends of processes come to it as messages; it ends with the last server.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from orchestrator.cluster import agreed
from orchestrator.errors import PenstockError, describe_exit
from orchestrator.launchers.base import Job, JobState
from orchestrator.node import Node
from orchestrator.ports import BUS_OFFSET
from orchestrator.readiness import START_TIMEOUT_S, await_agreement, await_server, start_time_s
from orchestrator.redis_config import DUMP
from orchestrator.shard import Shard, ShardError

MOST_RESTARTS = 3


class Keeper:
    """Lets a replica take the place of a primary that dies, or starts a server again.

    Args:
        nodes: the servers of a database that is ready.
        attempts: their processes.
        start_again: starts a server again, at another place, and returns it there; None promotes replicas
            instead.
        logs_writes: what a server was told is on disk, whether it was saved or not.

    Attributes:
        jobs: of the servers, in the same order.
        nodes: the servers there are now.
        primaries: of each shard the one that owns its keys now.
        changed: is told, on the Keeper's thread, what has become of a server.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        attempts: Sequence[Job],
        start_again: Callable[[Node], tuple[Node, Job]] | None,
        *,
        logs_writes: bool,
    ) -> None:
        self.nodes = tuple(nodes)
        self._attempts: dict[str, Job] = {}
        self._start_again = start_again
        self._logs_writes = logs_writes
        self._inbox: queue.SimpleQueue[tuple[Node, Job]] = queue.SimpleQueue()
        self.jobs = tuple(
            Job(attempt.launch, partial(self._signal, node.name))
            for node, attempt in zip(nodes, attempts, strict=True)
        )
        self._jobs = {job.name: job for job in self.jobs}
        self.primaries = {node.shard: node for node in nodes if node.replica == 0}
        self.changed: Callable[[str], None] = lambda _: None
        for node, attempt in zip(nodes, attempts, strict=True):
            self._watch(node, attempt)
        threading.Thread(target=self._run, name="penstock-keeper", daemon=True).start()

    def running(self) -> list[tuple[Node, Job]]:
        """Return the servers there are now, with their processes."""
        return [(node, self._attempts[node.name]) for node in self.nodes]

    def _watch(self, node: Node, attempt: Job) -> None:
        self._attempts[node.name] = attempt
        self._jobs[node.name].report_attempt(attempt)
        attempt.when_ended(lambda ended: self._inbox.put((node, ended)))

    def _signal(self, name: str, number: int) -> None:
        self._attempts[name].signal(number)

    def _run(self) -> None:
        while not all(job.state.final for job in self.jobs):
            self._hear_end(*self._inbox.get())

    def _hear_end(self, node: Node, attempt: Job) -> None:
        """At the edge of the thread: what goes wrong here is why the database has failed."""
        job = self._jobs[node.name]
        if job.state.final or attempt is not self._attempts[node.name]:
            return
        if job.stopping:
            job.report_ended(attempt.returncode)
            return
        try:
            if self._start_again is None:
                self._replace(node, attempt)
            else:
                self._restart(node, attempt, self._start_again)
        except Exception as error:  # noqa: BLE001
            state = None if job.stopping else JobState.FAILED
            why = [attempt.reason, str(error) or type(error).__name__]
            job.report_ended(attempt.returncode, state, "; ".join(filter(None, why)))

    def _replace(self, node: Node, attempt: Job) -> None:
        """Go on without a server; a replica takes the place of a primary."""
        alive = [each for each in self.nodes if not self._attempts[each.name].state.final]
        said = _end_of(node, attempt)
        if self.primaries[node.shard] is node:
            heir = _most_advanced([each for each in alive if each.shard == node.shard])
            others = [each for each in alive if each is not heir]
            self.primaries[node.shard] = _take_place(heir, node, others)
            alive = [*others, self.primaries[node.shard]]
            said += f"; its replica {heir.name} has taken its place"
        else:
            said += f"; shard {node.shard} goes on without this replica"
        self._forget(node, alive)
        self.nodes = tuple(alive)
        job = self._jobs[node.name]
        job.tolerated = True
        job.report_ended(attempt.returncode, JobState.FAILED, said)
        self.changed(said)

    def _forget(self, node: Node, alive: Sequence[Node]) -> None:
        """Wait until all agree on who owns the slots now, and know the dead server no more."""
        jobs = [self._attempts[each.name] for each in alive]
        deadline = time.monotonic() + START_TIMEOUT_S
        await_agreement(jobs, alive, agreed(list(self.primaries.values())), deadline)
        for each in alive:
            with Shard(each.endpoint) as shard:
                shard.forget([node.identity])

    def _restart(self, node: Node, attempt: Job, start_again: Callable[[Node], tuple[Node, Job]]) -> None:
        job = self._jobs[node.name]
        if job.attempts > MOST_RESTARTS:
            raise PenstockError(f"it had been started again {MOST_RESTARTS} times already")
        saved = node.directory / DUMP
        if not self._logs_writes and not saved.exists():
            raise PenstockError(
                "it cannot be started again with its data: that was never saved. db.snapshot(directory) "
                "saves it, RedisConfig(append_only=True) every write"
            )
        hidden, again = start_again(node)
        self._watch(node, again)
        if job.stopping:  # it was told so while it was being started
            again.terminate()
        deadline = time.monotonic() + start_time_s([node.directory])
        await_server(again, hidden, deadline)
        if node.slots is not None:
            await_agreement([again], [hidden], agreed(list(self.primaries.values())), deadline)
        _show(hidden, node)
        kept = "its log of writes" if self._logs_writes else "what was last saved of it"
        self.changed(f"{_end_of(node, attempt)}; started again from {kept}")


def _end_of(node: Node, attempt: Job) -> str:
    return "; ".join(filter(None, (f"{node.name} {describe_exit(attempt.returncode)}", attempt.reason)))


def _take_place(heir: Node, node: Node, others: Sequence[Node]) -> Node:
    """Let a replica own the slots of its primary, which has died, and return where it listens then.

    That is where the primary did: SmartRedis remembers the address of each shard, and follows no redirection.
    """
    with Shard(heir.endpoint) as shard:
        shard.take_over()
        if heir.endpoint.host != node.endpoint.host:
            return heir
        shard.listen_on(node.endpoint.port)
        shard.announce(node.endpoint.port)
    for other in others:
        with Shard(other.endpoint) as shard:
            shard.look_at(node.endpoint, heir.endpoint.port + BUS_OFFSET)
    return replace(heir, endpoint=node.endpoint)


def _show(hidden: Node, node: Node) -> None:
    """Let a server that has its data listen where its clients look for it."""
    if hidden.endpoint.unix_socket is not None and node.endpoint.unix_socket is not None:
        hidden.endpoint.unix_socket.rename(node.endpoint.unix_socket)
        return
    with Shard(hidden.endpoint) as shard:
        shard.listen_on(node.endpoint.port)


def _most_advanced(replicas: Sequence[Node]) -> Node:
    """Return the replica that has got most of what its primary was told."""
    offsets: dict[int, Node] = {}
    for node in replicas:
        try:
            with Shard(node.endpoint) as shard:
                facts = shard.facts()
        except ShardError:
            continue  # a replica that hangs or loads is none that could take a place
        if facts.get("master_sync_in_progress") == "0":
            offsets.setdefault(int(facts["slave_repl_offset"]), node)
    if not offsets:
        raise PenstockError("no replica was left to take its place")
    return offsets[max(offsets)]
