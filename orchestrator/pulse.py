"""Servers that hang: alive for the operating system, and silent for everybody else.

One thread sends each server a PING and looks for the answer later, so that a silent one holds up nothing. Any
answer counts, also that it loads its data or runs a script. So does work: a server that executes one long
command answers nobody, but its main thread uses its core, where it is on this host and can be looked at. One
that does neither for `unresponsive_s`, or that the others of its cluster call failed, hangs: its Job fails
with that reason, and what follows is what follows its death.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from orchestrator.hosts import is_here
from orchestrator.launchers.base import Job
from orchestrator.node import Node
from orchestrator.progress import say
from orchestrator.shard import Shard, ShardError
from orchestrator.watcher import read_stat

LOOKS = 4
"""In the time after which a server hangs, or a cluster calls one failed."""
LONGEST_INTERVAL_S = 15.0
CONNECT_S = 1.0
WORKS = 0.1
"""The part of the time for which a main thread that works uses its core."""
STATES = {"T": "is stopped", "t": "is held by a debugger", "D": "waits for a disk or file system"}

Running = Callable[[], Sequence[tuple[Node, Job]]]


class Pulse:
    """Watches the servers of a database that is ready.

    Args:
        running: returns those there are now, with their processes.
        over: tells whether there will be none any more; a server that is started again is none meanwhile.
        unresponsive_s: after how long a silent one hangs.
        cluster_s: after how long a cluster calls one failed; None where there is none.
    """

    def __init__(
        self, running: Running, over: Callable[[], bool], unresponsive_s: float, cluster_s: float | None
    ) -> None:
        self._running = running
        self._over = over
        self._limit_s = unresponsive_s
        shortest = unresponsive_s if cluster_s is None else min(unresponsive_s, cluster_s)
        self._interval_s = min(shortest / LOOKS, LONGEST_INTERVAL_S)
        self._clustered = cluster_s is not None
        self._servers: dict[str, _Server] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="penstock-pulse", daemon=True).start()

    def wake(self) -> None:
        """Let the thread see that a server has ended: it ends with the last one."""
        self._ended.set()

    def _run(self) -> None:
        try:
            while not self._over():
                for node, job in self._running():
                    if not job.state.final:
                        self._look(node, job)
                self._ended.wait(self._interval_s)
                self._ended.clear()
        finally:
            for server in self._servers.values():
                server.shard.close()

    def _look(self, node: Node, job: Job) -> None:
        server = self._servers.get(node.name)
        if server is None or server.job is not job or server.node != node:
            if server is not None:
                server.shard.close()
            server = self._servers[node.name] = _Server(node, job)
        if job.stopping or server.lives():
            return
        silent_s = time.monotonic() - server.answered
        if server.works():
            if silent_s > self._limit_s:
                server.tell(f"has not answered for {silent_s:.3g} s, but works, and is let be")
            return
        if silent_s >= self._limit_s:
            self._condemn(server, f"it had not answered for {silent_s:.3g} s")
        elif self._clustered and self._called_failed(server):
            self._condemn(server, f"the others of its cluster call it failed, silent for {silent_s:.3g} s")
        elif silent_s >= self._limit_s / 2:
            server.tell(
                f"has not answered for {silent_s:.3g} s, and is taken for dead at {self._limit_s:g} s"
            )

    def _condemn(self, server: _Server, why: str) -> None:
        state = STATES.get(server.state() or "", "")
        server.job.condemn(f"{why}{f', and its process {state}' if state else ''}")

    def _called_failed(self, server: _Server) -> bool:
        """Tell whether a server that answers knows that most primaries call this one failed."""
        for other in self._servers.values():
            if other is not server and other.answered > server.answered:
                with suppress(ShardError), Shard(other.node.endpoint, timeout_s=CONNECT_S) as shard:
                    return server.node.identity in shard.failed_nodes()
        return False


class _Server:
    """One server as it was last seen."""

    def __init__(self, node: Node, job: Job) -> None:
        self.node = node
        self.job = job
        self.shard = Shard(node.endpoint, timeout_s=CONNECT_S)
        self.answered = time.monotonic()
        self._asked = False
        self._told = False
        self._pid = _process_here(job)
        self._used_s = self._used()

    def lives(self) -> bool:
        """Tell whether it has answered what it was asked at the last look, and ask again."""
        try:
            if self._asked and not self.shard.has_answered():
                return False
            self.shard.ask()
            self._asked = True
        except TimeoutError:
            return False
        except ShardError:  # it does not listen: it starts again, or its end is told by its Job
            self._asked = False
        self.answered, self._used_s, self._told = time.monotonic(), self._used(), False
        return True

    def works(self) -> bool:
        """Tell whether its main thread has used its core since it last answered."""
        silent_s = time.monotonic() - self.answered
        return self._pid is not None and self._used() - self._used_s >= WORKS * silent_s

    def state(self) -> str | None:
        """Return the state of its process, where that can be looked at."""
        stat = read_stat(self._pid) if self._pid is not None else None
        return stat.state if stat is not None else None

    def tell(self, sentence: str) -> None:
        """Say once of a silence that it lasts."""
        if not self._told:
            say(f"{self.node.name} {sentence}")
            self._told = True

    def _used(self) -> float:
        """Return for how long the main thread has used a core, s."""
        if self._pid is None:
            return 0.0
        try:
            text = Path(f"/proc/{self._pid}/task/{self._pid}/stat").read_bytes()
        except OSError:
            return 0.0
        user, system = text[text.rindex(b")") + 2 :].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _process_here(job: Job) -> int | None:
    """Return the process of a server on this host, which the Job of its launcher is."""
    here = job.placement is None or all(map(is_here, job.placement.hosts))
    return job.pid if here else None
