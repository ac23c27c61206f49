"""The rules of bounded streams in one process: what the database's module does, for MemoryClient."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sim_clients.errors import StreamError, StreamFull
from sim_clients.flow import Bound, Fill, Outcome
from sim_clients.keys import parse_snapshot

WAIT_S = 600.0
"""How long a put waits for room at most, s."""
STANDARD = Bound(bytes=1 << 40)


@dataclass
class Entry:
    """One position: the dataset's entry, its bytes in memory (None: it holds nothing there).

    `replaced`: a later position has the same name, and so the data.
    """

    name: str
    size: int | None
    replaced: bool = False


@dataclass
class MemoryStream:
    """One stream.

    Attributes:
        name: of the stream.
        remove: removes the data of a dataset.
        directory: under `bound.directory`, this stream's own: others may have the same bound.
    """

    name: str
    remove: Callable[[str], None]
    entries: list[Entry] = field(default_factory=list)
    bound: Bound | None = None
    directory: Path | None = None
    kept_from: int = 0
    dropped: int = 0
    skipped: int = 0
    left: bool = False
    consumers: dict[str, int] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _line: list[object] = field(default_factory=list)
    """Producers that wait, in their order."""
    _reserved: dict[str, int] = field(default_factory=dict)
    _unkept: dict[str, int] = field(default_factory=dict)

    def set_bound(self, bound: Bound) -> None:
        """Set the bound; see `Client.bound_stream`."""
        with self.changed:
            if self.bound not in (None, bound):
                raise StreamError(self.name, f"it has the bound {self.bound}, not {bound}")
            if bound.directory is not None and self.directory is None:
                self.directory = Path(bound.directory) / secrets.token_hex(8)
            self.bound = bound

    def reserve(self, entry: str, size: int) -> Outcome:
        """Get room for a snapshot, by the policy of the stream.

        Raises:
            StreamFull
        """
        with self.changed:
            bound = self.bound or STANDARD
            if bound.bytes and size > bound.bytes and bound.policy != "spill":
                raise StreamFull(self.name, f"a snapshot of {size} bytes never fits, its bound is {bound}")
            self._drop_acknowledged()
            if bound.policy == "drop_oldest":
                self._drop_oldest(size)
            outcome = Outcome.STORED if self._has_room(size) else self._without_room(bound, entry)
            if outcome is Outcome.STORED:
                self._wait(bound, size)
                self._reserved[entry] = size
            return outcome

    def announce(self, entry: str, outcome: Outcome) -> None:
        """Append a snapshot."""
        with self.changed:
            size = self._reserved.pop(entry, 0) if outcome is Outcome.STORED else None
            for before in self.entries[self.kept_from :]:
                if before.name == entry:
                    before.size, before.replaced = None, True  # its data is this one's now
            self.entries.append(Entry(entry, size))

    def subscribe(self, consumer: str) -> int:
        """Become a consumer; see `Client.subscribe`."""
        with self.changed:
            return self.consumers.setdefault(consumer, self.kept_from)

    def acknowledge(self, consumer: str, position: int) -> None:
        """Acknowledge the positions before this one; see `Client.acknowledge`."""
        with self.changed:
            self._check(consumer)
            if position > len(self.entries):
                most = len(self.entries)
                raise StreamError(
                    self.name, f"a position to acknowledge is 0 to {most}, which is how many are announced"
                )
            self.consumers[consumer] = max(self.consumers[consumer], position)
            self._drop_acknowledged()

    def unsubscribe(self, consumer: str) -> None:
        """Leave; see `Client.unsubscribe`."""
        with self.changed:
            self._check(consumer)
            del self.consumers[consumer]
            self.left = True
            self._drop_acknowledged()

    def forget(self) -> list[str]:
        """Begin anew, without bound and consumers, and return the names of what was announced."""
        with self.changed:
            names = [entry.name for entry in self.entries]
            self.entries, self.kept_from = [], 0
            self.bound = self.directory = None
            self.dropped = self.skipped = 0
            self.left = False
            self.consumers.clear()
            self._unkept.clear()
            self.changed.notify_all()
            return names

    def fill(self) -> Fill:
        """Return how full the stream is."""
        with self.changed:
            items, size = self._load()
            spilled = sum(entry.size is None and not entry.replaced for entry in self.entries)
            counts = (self.dropped, self.skipped, spilled, len(self._line))
            bound = self.bound or STANDARD
            return Fill(items, size, bound, len(self.entries), self.kept_from, *counts, dict(self.consumers))

    def _check(self, consumer: str) -> None:
        if consumer not in self.consumers:
            raise StreamError(self.name, f"{consumer!r} has not subscribed to the stream {self.name!r}")

    def _load(self) -> tuple[int, int]:
        sizes = [entry.size for entry in self.entries[self.kept_from :] if entry.size is not None]
        return len(sizes), sum(sizes)

    def _has_room(self, size: int) -> bool:
        bound = self.bound or STANDARD
        items, held = self._load()
        items, held = items + len(self._reserved), held + sum(self._reserved.values())
        return (bound.items is None or items < bound.items) and (
            bound.bytes is None or held + size <= bound.bytes
        )

    def _without_room(self, bound: Bound, entry: str) -> Outcome:
        if bound.policy == "spill":
            return Outcome.SPILLED
        if bound.policy == "thin":
            producer, rank, _step = parse_snapshot(entry)
            series = f"{producer}.{rank}"
            count = self._unkept[series] = self._unkept.get(series, 0) + 1
            if count == bound.keep_every:
                self._unkept[series] = 0
                return Outcome.STORED
        if bound.policy in ("thin", "drop_newest"):
            self.skipped += 1
            return Outcome.SKIPPED
        return Outcome.STORED

    def _wait(self, bound: Bound, size: int) -> None:
        until, turn = time.monotonic() + (bound.wait_s or WAIT_S), object()
        self._line.append(turn)
        try:
            while self._line[0] is not turn or not self._has_room(size):
                if time.monotonic() >= until:
                    raise StreamFull(self.name, self._why(bound))
                self.changed.wait(max(0.0, until - time.monotonic()))
        finally:
            self._line.remove(turn)
            self.changed.notify_all()

    def _why(self, bound: Bound) -> str:
        items, size = self._load()
        text = f"it keeps {items} snapshots of {size} bytes in all, its bound is {bound}; "
        if not self.consumers:
            return text + "nobody has subscribed to it, so nothing is acknowledged"
        slowest = min(self.consumers, key=lambda name: self.consumers[name])
        done = f"{self.consumers[slowest]} of {len(self.entries)}"
        return text + f"its slowest consumer {slowest!r} has acknowledged {done}"

    def _drop_acknowledged(self) -> None:
        if self.consumers:
            self._drop_to(min(self.consumers.values()))
        elif self.left:
            self._drop_to(len(self.entries))
        self.changed.notify_all()

    def _drop_oldest(self, size: int) -> None:
        before = self.kept_from
        while not self._has_room(size) and self.kept_from < len(self.entries):
            self._drop_to(self.kept_from + 1)
        self.dropped += self.kept_from - before

    def _drop_to(self, position: int) -> None:
        for entry in self.entries[self.kept_from : position]:
            if not entry.replaced and entry.name not in self._reserved:
                self.remove(entry.name)
        self.kept_from = max(self.kept_from, position)
