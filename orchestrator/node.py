"""A node: one redis-server of a database, and the map of slots by which nodes are a cluster from the start.

Redis lets a primary that starts refuse writes for two seconds, since it may have been away. A replica has no
such delay, and keeps what it knows when it becomes the primary. So the map, the `nodes.conf` of Redis that is
written before the node starts, calls each node a replica of a placeholder that owns the shard's slots and
listens nowhere. The nodes find the cluster complete at once; then the first of each shard takes the slots of
its placeholder, which the others hear of as of any failover, and all forget the placeholders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.ports import BUS_OFFSET
from orchestrator.redis_config import Endpoint

NOWHERE = "127.0.0.1:1@10001"
"""The address of placeholders, where nobody listens. Valkey 9 counts nodes without any as unreachable."""


@dataclass(frozen=True)
class Node:
    """One redis-server of a database, as it starts.

    Attributes:
        name: of its Job.
        shard: the number of the shard whose keys it has.
        endpoint: where it listens.
        directory: where it runs.
        slots: of its shard; None where there is only one.
        replica: 0 for the one that is the shard's primary at first, else which replica of the shard.
        identity: 40 hexadecimal digits by which the nodes of a cluster know each other.
        memory_bytes: of its host; None where that is the driver's.
    """

    name: str
    shard: int
    endpoint: Endpoint
    directory: Path
    slots: range | None = None
    replica: int = 0
    identity: str = ""
    memory_bytes: int | None = None


def placeholder(shard: int) -> str:
    """Return the identity of what owns the slots of a shard until a node takes them."""
    return f"{shard:040x}"


def slot_map(nodes: Sequence[Node], myself: Node, *, shard_ids: bool) -> str:
    """Return the slot map with which one of these nodes starts.

    Args:
        nodes: of the cluster.
        myself: the one that starts.
        shard_ids: whether the server knows shards by identities: Redis 7.2 and every Valkey do, and a Valkey
            believes no replica whose identity is another than that of its primary.
    """
    primaries = [node for node in nodes if node.replica == 0]
    ids = {node.shard: f",,shard-id={node.identity}" if shard_ids else "" for node in primaries}
    lines = [_placeholder_line(node, ids[node.shard]) for node in primaries]
    for node in nodes:
        lines.append(_node_line(node, ids[node.shard], "myself,slave" if node == myself else "slave"))
    return "\n".join([*lines, f"vars currentEpoch {len(primaries)} lastVoteEpoch 0", ""])


def _placeholder_line(node: Node, shard_id: str) -> str:
    if node.slots is None:
        raise AssertionError("only nodes of a cluster have a slot map")
    slots = f"{node.slots.start}-{node.slots.stop - 1}"
    epoch = node.shard + 1
    return f"{placeholder(node.shard)} {NOWHERE}{shard_id} master - 0 0 {epoch} disconnected {slots}"


def _node_line(node: Node, shard_id: str, flags: str) -> str:
    at = f"{node.endpoint}@{node.endpoint.port + BUS_OFFSET}"
    return f"{node.identity} {at}{shard_id} {flags} {placeholder(node.shard)} 0 0 0 connected"
