"""Slots: which shard owns which, which shard a key belongs to, and when nodes agree on it.

A cluster is formed by commands of Redis itself, no redis-cli is needed; it starts with the map of node.py.
"""

from __future__ import annotations

import binascii
import itertools
from collections.abc import Callable, Sequence

from orchestrator.errors import UsageError
from orchestrator.node import Node, placeholder
from orchestrator.shard import Shard

SLOTS = 16_384
MOST_SHARDS = 1000
MOST_REPLICAS = 5


def check_shard_count(shards: int) -> None:
    """Refuse a number of shards that cannot be.

    Raises:
        UsageError
    """
    if not isinstance(shards, int) or isinstance(shards, bool) or not 1 <= shards <= MOST_SHARDS:
        raise UsageError(f"shards={shards!r}: one shard, or a cluster of 2 to {MOST_SHARDS}")


def check_replicas(replicas: int, shards: int) -> None:
    """Refuse a number of replicas that cannot be.

    Raises:
        UsageError
    """
    if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= MOST_REPLICAS:
        raise UsageError(f"replicas={replicas!r}: 0 to {MOST_REPLICAS} of each shard")
    if replicas and shards == 1:
        raise UsageError(
            f"replicas={replicas!r}: only the shards of a cluster have replicas; give shards=2 or more, "
            "or RedisConfig(append_only=True) to survive the end of a server"
        )


def slot_ranges(shards: int) -> list[range]:
    """Divide the slots among shards, in order, as evenly as can be."""
    return [range(SLOTS * i // shards, SLOTS * (i + 1) // shards) for i in range(shards)]


def key_slot(key: str | bytes) -> int:
    """Return the slot of a key: the CRC16 (XMODEM) of its hash tag, or of all of it where it has none."""
    data = key.encode() if isinstance(key, str) else key
    opening = data.find(b"{")
    closing = data.find(b"}", opening + 1)
    if opening != -1 and closing > opening + 1:
        data = data[opening + 1 : closing]
    return binascii.crc_hqx(data, 0) % SLOTS


def key_within(slots: range, stem: str) -> str:
    """Return a key that begins with a stem and belongs to one of these slots."""
    return next(key for n in itertools.count() if key_slot(key := f"{stem}.{n}") in slots)


def spread(shards: int, replicas: int, hosts: Sequence[str]) -> list[str]:
    """Return the host of each server: those of the shards, then those of their replicas.

    A replica is not with others of its shard where there is a host without one; besides all hosts get alike.
    """
    chosen = [hosts[shard % len(hosts)] for shard in range(shards)]
    for number in range(shards, shards * (1 + replicas)):
        same = chosen[number % shards :: shards]
        # the least loaded; of several, the first after the shard's own
        first = hosts.index(same[0])
        order = [*hosts[first + 1 :], *hosts[: first + 1]]
        chosen.append(min(order, key=lambda host: (same.count(host), chosen.count(host))))
    return chosen


def take_slots(nodes: Sequence[Node], shards: Sequence[Shard]) -> None:
    """Let the first node of each shard take the slots of its placeholder; does not wait."""
    for node, shard in zip(nodes, shards, strict=True):
        if node.replica == 0:
            shard.take_over()


def forget_placeholders(nodes: Sequence[Node], shards: Sequence[Shard]) -> None:
    """Let every node forget what owned the slots before; all must agree on who does now."""
    for shard in shards:
        shard.forget(placeholder(node.shard) for node in nodes if node.replica == 0)


def agreed(primaries: Sequence[Node]) -> Callable[[Shard], bool]:
    """Return a test: does this server take the cluster for complete, and each slot for its primary's?"""
    plan = {
        (node.slots.start, node.slots.stop - 1): (node.endpoint.host, node.endpoint.port)
        for node in primaries
        if node.slots is not None
    }
    return lambda shard: shard.cluster_is_ok() and shard.slot_owners() == plan
