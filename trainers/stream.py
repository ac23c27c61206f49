"""What the producers announce, read in order: a cursor over a stream of snapshots."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from sim_clients import (
    Client,
    ClientError,
    Contract,
    IncompleteSnapshot,
    KeyMissing,
    Snapshot,
    SnapshotDropped,
    SnapshotError,
    StreamError,
)
from sim_clients.contract import Layout, layout_of
from sim_clients.keys import DEFAULT_STREAM, SnapshotName
from trainers.cursor import Cursor
from trainers.errors import NonFiniteField, StreamStalled, StreamTaken, TrainerError
from trainers.share import Share

FIRST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.25
PRESSES_EVERY_S = 0.25
"""How often a stream is asked whether it presses."""
PRESSED = 0.5
"""The level of a stream from which on what was read is better acknowledged soon."""
AT_ONCE = 64
"""So many snapshots are asked for at a time, at most."""
PATIENCE_S = 2.0
"""How long an announced snapshot may lack fields: a plain SmartRedis solver can announce before it stores."""


NonFinite = Literal["refuse", "skip"]
"""What becomes of a snapshot that carries NaN or infinity: it ends the reading, or is skipped and counted."""


class Pauses:
    """Pauses between two looks at the database: each twice the one before it, up to a deadline."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._next_s = FIRST_PAUSE_S

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._deadline

    def next_s(self) -> float | None:
        """Return how long the next one is, s; None when the deadline has passed."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return None
        pause_s = min(self._next_s, left_s)
        self._next_s = min(2 * self._next_s, LONGEST_PAUSE_S)
        return pause_s

    def put_off(self, seconds: float) -> None:
        """Have the deadline so much later."""
        self._deadline += seconds

    def pause(self) -> bool:
        """Sleep, and return True; or return False at once when the deadline has passed."""
        pause_s = self.next_s()
        if pause_s is None:
            return False
        time.sleep(pause_s)
        return True


class SnapshotStream:
    """New snapshots of a stream, each once, in the order of their announcement, complete and finite.

    Every snapshot keeps the contract of the stream, and its arrays have the shapes of those before: blocks of
    other shapes do not fit into one batch. Where nobody has made a contract, for all solvers are plain
    SmartRedis programs, that of the first snapshot holds.
    """

    def __init__(
        self,
        client: Client,
        producers: Sequence[str] = (),
        *,
        ranks: int = 1,
        stream: str = DEFAULT_STREAM,
        cursor: int = 0,
        timeout_s: float = 60.0,
        consumer: str | None = None,
        non_finite: NonFinite = "refuse",
        share: Share | None = None,
    ) -> None:
        """Read a stream from a position on.

        Args:
            producers: names of those who put snapshots; when all their ranks have ended, so has the stream.
                Without names it never ends.
            ranks: ranks of each producer.
            cursor: position of the first snapshot to read.
            timeout_s: how long to wait for a new snapshot.
            consumer: under which name `subscribe`, `acknowledge` and `leave` speak; the same in a later life
                of the same reader. None: they do nothing, and others decide what is kept.
            non_finite: what becomes of a snapshot that carries NaN or infinity.
            share: which of the snapshots are read, where several readers divide the stream; all by default.
        """
        self._client = client
        self._writers = tuple((producer, rank) for producer in producers for rank in range(ranks))
        self._running = list(self._writers)
        self._stream = stream
        self._cursor = Cursor(cursor, share)
        self._timeout_s = timeout_s
        self._contract: Contract | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._fits: Layout = {}
        self._is_resumed = False  # and has not looked yet whether the list is still the same
        self._consumer = consumer
        self._acknowledged = 0
        self._asked_at = -math.inf
        self.lowest: int | None = None
        """Where the slowest of those who divide the stream is: what comes later cannot be acknowledged."""
        self.announced = 0
        """Snapshots that were announced by the last look."""
        self.missed = 0
        """Snapshots that were dropped before they were read."""
        self.non_finite = 0
        """Snapshots that were skipped because they carry NaN or infinity."""
        self._skips_non_finite = non_finite == "skip"

    @property
    def producers(self) -> tuple[str, ...]:
        """The names of those who put snapshots, as they were given; none where nobody was named."""
        return tuple(dict.fromkeys(producer for producer, _ in self._writers))

    @property
    def cursor(self) -> int:
        """How many snapshots have been read, or left to those who share the stream."""
        return self._cursor.position

    def new(self, limit: int | None = None, *, mapped: bool = False) -> list[Snapshot]:
        """Return what has been announced since the last call, without waiting.

        Args:
            limit: at most so many; the rest stays for the next call.
            mapped: see `Client.get_snapshots`.

        Raises:
            IncompleteSnapshot, NonFiniteField, SnapshotError: naming the snapshot; it stays unread.
        """
        before, self.announced = self.announced, self._client.announced(self._stream)
        if self.announced < self.cursor or self._is_resumed:
            self._find_place()
        elif self.announced < before:
            self._cursor.plan_anew()
        snapshots: list[Snapshot] = []
        while limit is None or len(snapshots) < limit:
            try:
                count = AT_ONCE if limit is None else min(AT_ONCE, limit - len(snapshots))
                positions = self._cursor.next(count, self.announced, self._names)
                if not positions:
                    break
                snapshots += self._read(positions, mapped)
            except KeyMissing:  # it came back between the two questions: the next look finds that out
                break
            except (TrainerError, ClientError):
                if not snapshots:
                    raise
                break  # what came before is read; the next call tells
        return snapshots

    def subscribe(self) -> None:
        """Have kept what this reader has not acknowledged."""
        if self._consumer is not None:
            self._acknowledged = self._client.subscribe(self._consumer, self._stream)

    def acknowledge(self, position: int | None = None) -> None:
        """Let go what lies before a position, by default all that has been read: a checkpoint holds it.

        Raises:
            StreamTaken: somebody else has acknowledged under this reader's name.
        """
        position = self.cursor if position is None else position
        self._cursor.let_go(position)
        if self._consumer is None or position <= self._acknowledged:
            return
        known = self._client.subscribe(self._consumer, self._stream)
        if known != self._acknowledged:
            own = self._acknowledged
            if self._find_place(came_back=known < own):
                position = min(position, self.cursor)
            elif known > own:
                raise StreamTaken(self._stream, self._consumer, own, known)
        try:
            self._client.acknowledge(position, self._consumer, self._stream)
        except StreamError:  # the database came back without this reader, or without some of what was read
            self._find_place(came_back=True)
            position = min(position, self.cursor)
            self._client.acknowledge(position, self._consumer, self._stream)
        self._acknowledged = position

    def presses(self, *, look_every_s: float = PRESSES_EVERY_S) -> bool:
        """Tell whether producers are out of room, or soon will be, for want of an acknowledgement.

        Args:
            look_every_s: the database is asked once in this time; in between the answer is no.
        """
        now = time.monotonic()
        lowest = self.cursor if self.lowest is None else min(self.cursor, self.lowest)
        behind = self._consumer is not None and lowest > self._acknowledged
        if not behind or now - self._asked_at < look_every_s:
            return False
        self._asked_at = now
        fill = self._client.fill(self._stream)
        return fill.level > PRESSED or fill.waiting > 0

    def leave(self) -> None:
        """Need nothing any more: producers do not wait for a reader that has ended."""
        if self._consumer is not None:
            self.subscribe()  # the database may have come back without this reader
            self._client.unsubscribe(self._consumer, self._stream)

    def wait(self, limit: int | None = None, *, unless: Callable[[], bool] = lambda: False) -> list[Snapshot]:
        """Return at least one new snapshot, or none when the stream has ended.

        Args:
            limit: at most so many; the rest stays for the next call.
            unless: asked at each look; when it says so, none is waited for any longer.

        Raises:
            StreamStalled: nothing came before the deadline; and what `new` raises.
        """
        pauses = Pauses(self._timeout_s)
        while True:
            ended = self.ended()  # asked before counting: what an ended producer announced is then counted
            if (snapshots := self.new(limit)) or ended or unless():
                return snapshots
            if not pauses.pause():
                raise self.stalled()

    def stalled(
        self, *, others: bool = False, absent: tuple[str, ...] = (), unnamed: tuple[str, ...] = ()
    ) -> StreamStalled:
        """Return the error that says for whom it was waited in vain.

        Args:
            others: snapshots came meanwhile, and were of no use.
            absent: producers of whom nothing came.
            unnamed: producers whose snapshots came, and are of no use to anybody here.
        """
        running = tuple(f"{producer}.{rank}" for producer, rank in self._running)
        where = self._stream, self.cursor, self._timeout_s
        skipped = self.non_finite
        return StreamStalled(
            *where, running, others=others, non_finite=skipped, absent=absent, unnamed=unnamed
        )

    def __iter__(self) -> Iterator[Snapshot]:
        """Yield snapshots until the stream has ended."""
        while snapshots := self.wait(limit=1):
            yield from snapshots

    def ended(self) -> bool:
        """Tell whether every producer has ended; snapshots they announced before may still be unread."""
        self._running = [
            (producer, rank)
            for producer, rank in self._running
            if not self._client.stream_ended(producer, rank, self._stream)
        ]
        return bool(self._writers) and not self._running

    def drained(self) -> bool:
        """Tell whether every producer has ended, and all that they announced has been read."""
        return self.ended() and self._client.announced(self._stream) <= self.cursor

    def units(self, field: str) -> str | None:
        """Return the units that the contract has of a field; None where it has none, or nothing was read."""
        return None if self._contract is None else self._contract.units(field)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to go on from here."""
        contract = None if self._contract is None else str(self._contract)
        shapes = {name: list(shape) for name, shape in self._shapes.items()}
        return {
            **self._cursor.state_dict(),
            "contract": contract,
            "shapes": shapes,
            "missed": self.missed,
            "non_finite": self.non_finite,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._cursor.load_state_dict(state)
        contract = state["contract"]
        self._contract = None if contract is None else Contract.parse(self._stream, contract)
        self._shapes = {name: tuple(shape) for name, shape in state["shapes"].items()}
        self.missed, self.non_finite = state["missed"], state["non_finite"]
        self._is_resumed = True

    def _find_place(self, *, came_back: bool = False) -> bool:
        """Go back to the last position up to which the list is the one that was read; tell whether it did.

        Args:
            came_back: it is known that this is another database, which does not know this reader.
        """
        self._is_resumed = False
        oldest = self._cursor.oldest
        names = [] if oldest is None else [str(name) for name in self._names(oldest)]
        position = self._cursor.found_in(names, self._client.announced(self._stream))
        if position == self.cursor and not came_back:
            return False
        self._cursor.go_back(position)
        self.subscribe()
        return True

    def _names(self, first: int) -> list[SnapshotName]:
        return self._client.snapshot_names(first, self._stream)

    def _read(self, positions: list[int], mapped: bool) -> list[Snapshot]:
        """Read the first of some positions, those up to one that is not whole; skip what is to be skipped."""
        snapshots: list[Snapshot] = []
        try:
            found = self._complete(positions, mapped)
        except SnapshotDropped:
            self.missed += self._cursor.skip(self._client.fill(self._stream).kept_from)
            return []
        for snapshot in found:
            try:
                self._check(snapshot)
                is_finite = self._is_finite(snapshot)
            except (TrainerError, ClientError):
                if not snapshots:
                    raise
                break  # those before it are read; the next call tells
            if is_finite:
                snapshots.append(snapshot)
            else:
                self.non_finite += 1
            self._cursor.done(snapshot.name)
        return snapshots

    def _is_finite(self, snapshot: Snapshot) -> bool:
        """Return whether all of its values are.

        Raises:
            NonFiniteField: they are not, and such snapshots are not to be skipped.
        """
        try:
            check_finite(snapshot)
        except NonFiniteField:
            if self._skips_non_finite:
                return False
            raise
        return True

    def _check(self, snapshot: Snapshot) -> None:
        layout = layout_of(snapshot.fields, snapshot.about)
        if layout == self._fits:
            return
        found = Contract.of(snapshot.name, layout)
        if self._contract is None:
            self._contract = self._client.contract(self._stream) or found
        self._contract.check(self._stream, found)
        shapes = {name: described.type.shape for name, described in layout.items()}
        self._shapes = self._shapes or shapes
        for name, shape in shapes.items():
            if shape != self._shapes[name]:
                raise SnapshotError(
                    snapshot.name,
                    f"the block of the field {name!r} is {shape}, those read before it were "
                    f"{self._shapes[name]}: a batch needs blocks of one shape",
                )
        self._fits = layout

    def _complete(self, positions: list[int], mapped: bool) -> list[Snapshot]:
        pauses = Pauses(PATIENCE_S)
        while True:
            try:
                return self._client.get_snapshots(positions, self._stream, mapped=mapped)
            except IncompleteSnapshot:
                if not pauses.pause():
                    raise


def check_finite(snapshot: Snapshot) -> None:
    """Check that no field carries NaN or infinity.

    Raises:
        NonFiniteField
    """
    for name, value in snapshot.fields.items():
        finite = np.isfinite(value)
        if not finite.all():  # a tenth of what counting them takes
            raise NonFiniteField(snapshot.name, name, int(np.count_nonzero(~finite)))
