"""Slots: which shard owns which, which shard a key belongs to, and how shards become a cluster.

A cluster is formed by the commands of Redis itself, no redis-cli is needed. Redis lets a new cluster accept
writes two seconds after its start at the earliest.
"""

from __future__ import annotations

import binascii
import itertools
from collections.abc import Callable, Sequence

from orchestrator.errors import UsageError
from orchestrator.shard import Shard

SLOTS = 16_384
MOST_SHARDS = 1000


def check_shard_count(shards: int) -> None:
    """Refuse a number of shards that cannot be.

    Raises:
        UsageError
    """
    if not isinstance(shards, int) or isinstance(shards, bool) or not 1 <= shards <= MOST_SHARDS:
        raise UsageError(f"shards={shards!r}: one shard, or a cluster of 2 to {MOST_SHARDS}")


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


def form_cluster(shards: Sequence[Shard]) -> None:
    """Give each shard its slots and introduce the shards to each other; does not wait."""
    for number, (shard, slots) in enumerate(zip(shards, slot_ranges(len(shards)), strict=True)):
        shard.own_slots(slots, epoch=number + 1)
    for shard, other in itertools.combinations(shards, 2):
        shard.meet(other.endpoint)


def agreed(shards: Sequence[Shard]) -> Callable[[Shard], bool]:
    """Return a test: does this shard take the cluster for complete, and each slot for its owner's?"""
    plan = {
        (slots.start, slots.stop - 1): shard.endpoint.port
        for shard, slots in zip(shards, slot_ranges(len(shards)), strict=True)
    }
    return lambda shard: shard.cluster_is_ok() and shard.slot_owners() == plan
