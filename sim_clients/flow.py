"""How much of a stream is kept, and what happens to a snapshot that finds no room: bounds and meters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Literal, get_args

from sim_clients.errors import BoundError, DatabaseRefused, SnapshotDropped, StreamError
from sim_clients.keys import checked

Policy = Literal["block", "drop_oldest", "drop_newest", "thin", "spill"]
POLICIES: tuple[str, ...] = get_args(Policy)
LONGEST_WAIT_S = 1e9
_MOST = 2**60
"""As the module has it."""
_CONSUMER = "consumer:"
"""In a meter, before the names of consumers."""


class Outcome(Enum):
    """What became of a snapshot."""

    STORED = "stored"
    SKIPPED = "skipped"
    """It was neither stored nor announced."""
    SPILLED = "spilled"
    """It is in files."""
    QUEUED = "queued"
    """It was put asynchronously: what becomes of it is not known yet."""


OUTCOMES = (Outcome.STORED, Outcome.SKIPPED, Outcome.SPILLED)
"""In the order of penstock_outcome."""


@dataclass(frozen=True)
class Bound:
    """How much of a stream is kept. At least one of `items` and `bytes` is given.

    Attributes:
        items: snapshots.
        bytes: of the tensors of all snapshots.
        policy: what happens to a snapshot that finds no room. `block`: the put waits. `drop_oldest`: the
            oldest are dropped, read or not. `drop_newest`: it is skipped. `thin`: of `keep_every` of a rank
            that find no room one waits, the others are skipped. `spill`: it goes to .npy files.
        keep_every: of `thin`, 2 or more.
        directory: of `spill`, absolute: `<directory>/<id>/<stream>/<snapshot>/<field>.npy`, where `id` is the
            stream's own in its database.
        wait_s: how long a put waits for room at most, s; by default as long as its client waits for answers.

    Raises:
        BoundError: when it is made, saying what does not fit.
    """

    items: int | None = None
    bytes: int | None = None
    policy: Policy = "block"
    keep_every: int | None = None
    directory: str | Path | None = None
    wait_s: float | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise BoundError(f"{self.policy!r} is no policy; use one of {', '.join(POLICIES)}")
        for name, least in (("items", 1), ("bytes", 1), ("keep_every", 2)):
            number = getattr(self, name)
            if number is not None and not (_is_whole(number) and least <= number <= _MOST):
                raise BoundError(f"{name} is a whole number from {least} to 2**60, got {number!r}")
        if self.items is None and self.bytes is None:
            raise BoundError("a bound has items, bytes or both, as in Bound(items=64)")
        if (self.keep_every is None) == (self.policy == "thin"):
            raise BoundError("keep_every belongs to the policy thin, which needs it")
        self._check_directory()
        self._check_wait()

    def _check_directory(self) -> None:
        if (self.directory is None) == (self.policy == "spill"):
            raise BoundError("directory belongs to the policy spill, which needs it")
        if self.directory is not None and not Path(self.directory).is_absolute():
            raise BoundError(f"directory is an absolute path, got {str(self.directory)!r}")

    def _check_wait(self) -> None:
        if self.wait_s is None:
            return
        if self.policy not in ("block", "thin"):
            raise BoundError(f"wait_s belongs to the policies block and thin, not {self.policy}")
        if not isinstance(self.wait_s, Real) or not 0 < self.wait_s <= LONGEST_WAIT_S:
            raise BoundError(
                f"wait_s is greater than 0 and at most {LONGEST_WAIT_S:.0f}, s, got {self.wait_s!r}"
            )

    def words(self) -> list[str | int]:
        """Return the words of PENSTOCK.BOUND behind the stream's name."""
        numbers = {"ITEMS": self.items, "BYTES": self.bytes, "EVERY": self.keep_every, "WAIT": self.wait_ms}
        words: list[str | int] = ["POLICY", self.policy]
        for keyword, number in numbers.items():
            words += [] if number is None else [keyword, int(number)]
        return words if self.directory is None else [*words, "DIRECTORY", str(self.directory)]

    @property
    def wait_ms(self) -> int | None:
        """`wait_s` in whole ms, at least one."""
        return None if self.wait_s is None else max(1, round(1e3 * self.wait_s))


def check_bound(bound: Bound, stream: str) -> None:
    """Check what a stream is to be bounded by, before anything is sent.

    Raises:
        StreamError: it is no Bound.
        NameRefused: of the stream.
    """
    checked("stream", stream)
    if not isinstance(bound, Bound):
        raise StreamError(stream, f"a bound is a Bound, got {bound!r}")


def checked_acknowledgement(position: int, stream: str) -> int:
    """Return a position to acknowledge as a plain int.

    Raises:
        StreamError: it is no whole number of 0 or more.
    """
    if not _is_whole(position) or not 0 <= position <= _MOST:
        raise StreamError(stream, f"a position is a whole number from 0 to 2**60, got {position!r}")
    return int(position)


@contextmanager
def refusals_of(stream: str) -> Iterator[None]:
    """Turn what the database refuses about a stream into StreamError."""
    try:
        yield
    except DatabaseRefused as error:
        raise StreamError(stream, error.reason.removeprefix("ERR ")) from error


def _is_whole(number: object) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


@dataclass(frozen=True)
class Fill:
    """How full a stream is.

    Attributes:
        items: snapshots in the database.
        bytes: of their tensors.
        bound: that is set, or that holds where nobody has set one.
        announced: snapshots announced so far, dropped ones too.
        kept_from: the first position whose data is there.
        dropped: snapshots that `drop_oldest` gave up.
        skipped: snapshots that were not stored.
        spilled: snapshots that went to files.
        waiting: producers that wait for room.
        consumers: name -> how many positions it has acknowledged.
    """

    items: int
    bytes: int
    bound: Bound
    announced: int
    kept_from: int
    dropped: int = 0
    skipped: int = 0
    spilled: int = 0
    waiting: int = 0
    consumers: Mapping[str, int] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """Items or bytes as part of the bound, whichever is more: 1 is full."""
        return max(
            self.items / (self.bound.items or float("inf")), self.bytes / (self.bound.bytes or float("inf"))
        )

    @property
    def slowest(self) -> str | None:
        """The consumer that has acknowledged least, None where there is none."""
        return min(self.consumers, key=lambda name: self.consumers[name], default=None)


def fill_from(meter: Mapping[str, str]) -> Fill:
    """Read the answer of PENSTOCK.METER."""
    number = {name: int(text) for name, text in meter.items() if text.isdigit()}
    consumers = {n.removeprefix(_CONSUMER): at for n, at in number.items() if n.startswith(_CONSUMER)}
    policy = next(known for known in get_args(Policy) if known == meter["policy"])
    bound = Bound(
        items=number["bound_items"] or None,
        bytes=number["bound_bytes"] or None,
        policy=policy,
        keep_every=number["keep_every"] or None,
        directory=meter["directory"] or None,
        wait_s=number["wait_ms"] / 1e3 or None,
    )
    counts = ("items", "bytes", "announced", "kept_from", "dropped", "skipped", "spilled", "waiting")
    return Fill(bound=bound, consumers=consumers, **{name: number[name] for name in counts})


def dropped(snapshot: str, position: int, stream: str, fill: Fill) -> SnapshotDropped:
    """Return the error of reading a position whose data has been given up."""
    where = f"it was at {position} of the stream {stream!r}, which keeps from {fill.kept_from} on"
    return SnapshotDropped(snapshot, fill.bound.policy, where)
