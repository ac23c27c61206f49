"""The bounds of a database's streams, and how full they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from orchestrator.cluster import key_slot
from orchestrator.errors import UsageError
from orchestrator.node import Node
from orchestrator.shard import Shard
from sim_clients.errors import ClientError
from sim_clients.flow import Bound, Fill, check_bound, fill_from
from sim_clients.keys import meter

_PATTERN = meter("*")
_WAITER = "waiter:"


def check_bounds(bounds: Mapping[str, Bound]) -> None:
    """Check what a user has said of streams before anything is started.

    Raises:
        UsageError: naming the stream.
    """
    if not isinstance(bounds, Mapping):
        raise UsageError(
            f"streams={bounds!r}: give a dict of names and bounds, as in "
            "streams={'snapshots': Bound(items=64)}"
        )
    for name, bound in bounds.items():
        try:
            check_bound(bound, name)
        except ClientError as error:
            raise UsageError(f"streams={{{name!r}: {bound!r}}}: {error}") from error


def set_bounds(bounds: Mapping[str, Bound], nodes: Sequence[Node]) -> None:
    """Set the bounds of streams, in place of those that a restored database brings.

    Raises:
        ShardError: the database does not answer.
    """
    with ExitStack() as stack:
        for name, bound in bounds.items():
            shard = stack.enter_context(Shard(_owner(nodes, name).endpoint))
            shard.command("PENSTOCK.BOUND", name, *bound.words(), "REPLACE")


@dataclass(frozen=True)
class StreamStatus:
    """One stream, as the database told.

    Attributes:
        name: of the stream.
        fill: how full it is.
        waiting: the snapshots that wait for room.
    """

    name: str
    fill: Fill
    waiting: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return the same for a program to read."""
        fill, bound = self.fill, self.fill.bound
        counts = ("items", "bytes", "announced", "kept_from", "dropped", "skipped", "spilled")
        return {
            "stream": self.name,
            **{name: getattr(fill, name) for name in counts},
            "level": fill.level,
            "policy": bound.policy,
            "bound_items": bound.items,
            "bound_bytes": bound.bytes,
            "waiting": list(self.waiting),
            "consumers": dict(fill.consumers),
        }


def stream_statuses(nodes: Sequence[Node]) -> list[StreamStatus]:
    """Ask a database for the streams that its programs have put snapshots in, sorted by name.

    Raises:
        ShardError: the database does not answer.
    """
    found = []
    for node in nodes:
        if node.replica == 0:
            with Shard(node.endpoint) as shard:
                found += [_status(shard, name) for name in _names(shard)]
    return sorted(found, key=lambda each: each.name)


def _owner(nodes: Sequence[Node], stream: str) -> Node:
    slot = key_slot(stream)
    return next(n for n in nodes if n.replica == 0 and (n.slots is None or slot in n.slots))


def _names(shard: Shard) -> set[str]:
    names, cursor = set(), b"0"
    while True:
        cursor, keys = shard.command("SCAN", cursor, "MATCH", _PATTERN, "COUNT", 1000)
        names |= {key.decode()[1:].rpartition("}")[0] for key in keys}
        if cursor == b"0":
            return names


def _status(shard: Shard, stream: str) -> StreamStatus:
    texts = [part.decode() for part in shard.command("PENSTOCK.METER", stream)]
    told = dict(zip(texts[::2], texts[1::2], strict=True))
    waiting = tuple(name.removeprefix(_WAITER).strip("{}") for name in told if name.startswith(_WAITER))
    return StreamStatus(stream, fill_from(told), waiting)
