"""Who is stuck: a program that has put snapshots and puts no more. The driver sees it in the database.

Solvers announce each snapshot by its name in the list of a stream. One thread looks at the length of that
list four times in each `heartbeat_s`, once for all programs that use it, and reads the names that are new. So
it costs a solver nothing, and one that uses plain SmartRedis is watched too.

A program that has put no snapshot yet is not stuck, since nobody knows how long it prepares; nor is one whose
ranks have all ended their stream, that waits for room in it, or whose snapshots find none and are skipped.
While a database does not answer nobody can put a snapshot: then all of its programs begin anew.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.cluster import key_slot, slot_ranges
from orchestrator.database import Database
from orchestrator.launchers.base import Job
from orchestrator.progress import say
from orchestrator.redis_config import Endpoint
from orchestrator.shard import RefusedError, Shard, ShardError
from sim_clients import keys
from sim_clients.errors import SnapshotError

LOOKS = 4
"""In each `heartbeat_s`."""
SHORTEST_S = 0.02
_WAITER = b"waiter:"
"""In a meter, before the names of snapshots that wait for room."""
CHUNK = 10_000
"""Names that are read by one command."""


@dataclass
class _Watched:
    """One attempt of a program, and when a look last found a snapshot of it."""

    job: Job
    heartbeat_s: float
    meters: tuple[StreamMeter, ...]
    seen: float | None = None

    def has_ended(self) -> bool:
        """Tell whether every rank has ended its stream."""
        ranks = range(self.job.launch.ranks or 1)
        return any(all(meter.ended(self.job.name, rank) for rank in ranks) for meter in self.meters)


class StreamMeter:
    """Reads who has put snapshots in one stream of a database."""

    def __init__(self, database: Database, stream: str) -> None:
        self._database = database
        self._stream = stream
        self._cursor = 0
        self._steps: dict[str, dict[bytes, bytes]] = {}
        self._shards: dict[int, Shard] = {}
        self._told = False

    def skip(self) -> None:
        """Leave out what is there already."""
        try:
            self._cursor = int(self._shard(self._stream).command("LLEN", self._stream))
        except ShardError as error:
            self.leave(error)

    def new(self) -> set[str]:
        """Return who has put a snapshot since the last look.

        Raises:
            ShardError: the database does not answer; the next look connects anew.
        """
        shard = self._shard(self._stream)
        length = int(shard.command("LLEN", self._stream))
        if length < self._cursor:  # it was started again with what was saved of it
            self._cursor = length
        found: set[str] = set()
        while self._cursor < length:
            names = shard.command("LRANGE", self._stream, self._cursor, self._cursor + CHUNK - 1)
            found.update(filter(None, map(_producer, names)))
            self._cursor += len(names)
            length = self._cursor if not names else length
        self._told = False
        return found

    def ended(self, producer: str, rank: int) -> bool:
        """Tell whether a rank has ended this stream."""
        key = keys.flag(keys.ended(self._stream, producer, rank))
        return any(self._shard(name).command("EXISTS", name) for name in (key, f"{producer}.{key}"))

    def goes_on(self, producer: str) -> bool:
        """Tell whether a producer waits for room in the stream, or has had snapshots skipped since then.

        Raises:
            ShardError: the database does not answer.
        """
        shard = self._shard(self._stream)
        try:
            meter = shard.command("PENSTOCK.METER", self._stream)
        except RefusedError:  # a database without our module, or with another kind of value there
            return False
        names = [name for name in meter[::2] if name.startswith(_WAITER)]
        if producer in {_producer(name.removeprefix(_WAITER)) for name in names}:
            return True
        if dict(zip(meter[::2], meter[1::2], strict=True))[b"skipped"] == b"0":
            return False
        told = shard.command("HGETALL", keys.steps(self._stream))
        steps = dict(zip(told[::2], told[1::2], strict=True))
        ours = {series: step for series, step in steps.items() if _is_of(series, producer)}
        before, self._steps[producer] = self._steps.get(producer), ours
        return before != ours

    def leave(self, error: ShardError) -> None:
        """Leave the database, which does not answer, and say so once."""
        self.close()
        if not self._told:
            say(f"the database cannot be asked for snapshots ({error}): heartbeats are counted anew")
            self._told = True

    def close(self) -> None:
        """Close the connections."""
        while self._shards:
            self._shards.popitem()[1].close()

    def _shard(self, key: str) -> Shard:
        """Return the connection to the primary that has a key; where it is now is asked when connecting."""
        address = self._database.address
        owners = (n for n, slots in enumerate(slot_ranges(len(address.endpoints))) if key_slot(key) in slots)
        number = next(owners) if address.clustered else 0
        if number not in self._shards:
            unix_socket = address.unix_socket
            there = None if unix_socket is not None else address.endpoints[number]
            endpoint = (
                Endpoint(unix_socket=unix_socket) if there is None else Endpoint(there.host, there.port)
            )
            self._shards[number] = Shard(endpoint)
        return self._shards[number]


class Heartbeats:
    """Watches programs; the thread begins with the first.

    Args:
        stuck: is told, on that thread, once of each program that is stuck, in words that go on from its name.
        failed: is told what ends that thread before its time.
    """

    def __init__(self, stuck: Callable[[Job, str], None], failed: Callable[[Exception], None]) -> None:
        self._stuck = stuck
        self._failed = failed
        self._inbox: queue.SimpleQueue[tuple[_Watched, bool] | None] = queue.SimpleQueue()
        self._meters: dict[tuple[int, str], StreamMeter] = {}
        self._watched: list[_Watched] = []
        self._thread: threading.Thread | None = None

    def prepare(self, databases: Sequence[Database], stream: str) -> None:
        """Look at a stream for the first time, before a program is started that will put snapshots in it."""
        for database in databases:
            if (id(database), stream) not in self._meters:
                meter = StreamMeter(database, stream)
                meter.skip()
                self._meters[id(database), stream] = meter

    def watch(
        self, job: Job, databases: Sequence[Database], *, heartbeat_s: float, stream: str, again: bool
    ) -> None:
        """Watch a program that has just been started, until it ends.

        Args:
            job: this attempt of it.
            databases: where it puts its snapshots.
            heartbeat_s: how long there may be none.
            stream: that it puts them in; prepared for these databases.
            again: there was an attempt before it, whose snapshots are not its own.
        """
        meters = tuple(self._meters[id(database), stream] for database in databases)
        self._inbox.put((_Watched(job, heartbeat_s, meters), again))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="penstock-heartbeats", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._take_in():
                self._look()
        except Exception as error:  # noqa: BLE001  at the edge of the thread: the Experiment raises it
            self._failed(error)
        for meter in self._meters.values():
            meter.close()

    def _take_in(self) -> bool:
        """Wait until it is time to look, or a program joins; return False when all is over."""
        try:
            message = self._inbox.get(timeout=self._pause_s())
        except queue.Empty:
            return True
        if message is None:
            return False
        joins, again = message
        if again:
            self._look()
        self._watched.append(joins)
        return True

    def _pause_s(self) -> float | None:
        shortest = min((each.heartbeat_s for each in self._watched), default=None)
        return None if shortest is None else max(SHORTEST_S, shortest / LOOKS)

    def _look(self) -> None:
        self._watched = [each for each in self._watched if not each.job.state.final]
        for meter in {meter: None for each in self._watched for meter in each.meters}:
            watched = [each for each in self._watched if meter in each.meters]
            try:
                found = meter.new()
            except ShardError as error:
                meter.leave(error)
                self._begin_anew(watched)
            else:
                for each in watched:
                    if each.job.name in found:
                        each.seen = time.monotonic()
        for each in [each for each in self._watched if _is_overdue(each)]:
            self._judge(each)

    def _judge(self, watched: _Watched) -> None:
        """One has put nothing for too long."""
        try:
            if any(meter.goes_on(watched.job.name) for meter in watched.meters):
                watched.seen = time.monotonic()
                return
            ended = watched.has_ended()
        except ShardError as error:
            watched.meters[0].leave(error)
            self._begin_anew([watched])
            return
        self._watched.remove(watched)
        if not ended:
            self._stuck(watched.job, f"has put no snapshot for {watched.heartbeat_s:g} s and was stopped")

    def _begin_anew(self, watched: Sequence[_Watched]) -> None:
        for each in watched:
            each.seen = time.monotonic() if each.seen is not None else None


def _is_overdue(watched: _Watched) -> bool:
    return watched.seen is not None and time.monotonic() - watched.seen >= watched.heartbeat_s


def _is_of(series: bytes, producer: str) -> bool:
    """Tell whether `<producer>.<rank>`, with or without a prefix of keys before it, is a producer's."""
    name = series.decode(errors="replace").rpartition(".")[0]
    return name == producer or name.endswith(f".{producer}")


def _producer(name: bytes) -> str | None:
    """Return who put a snapshot; None where a stream has something else, which its reader complains of.

    SmartRedis writes `{heat_0.0.40}`, and with a prefix of keys (`SSKEYOUT`) that before it.
    """
    try:
        return keys.parse_snapshot(name.decode(errors="replace")).producer
    except SnapshotError:
        return None
