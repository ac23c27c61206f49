"""The slot map with which the nodes of a cluster start."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster import SLOTS, slot_ranges
from orchestrator.node import Node, slot_map
from orchestrator.redis_config import Endpoint


def cluster(shards: int, replicas: int = 0) -> list[Node]:
    ranges = slot_ranges(shards)
    return [
        Node(
            f"database_{number}",
            number % shards,
            Endpoint("127.0.0.1", 7000 + number),
            Path(f"/run/{number}"),
            ranges[number % shards],
            replica=number // shards,
            identity=f"{number + 0xA0:040x}",
        )
        for number in range(shards * (replicas + 1))
    ]


@pytest.mark.parametrize("shard_ids", [False, True])
def test_map_is_the_recorded_one(shard_ids: bool) -> None:
    nodes = cluster(2, replicas=1)
    zeros = "0" * 38
    first, second = (f",,shard-id={zeros}{end}" if shard_ids else "" for end in ("a0", "a1"))
    assert slot_map(nodes, nodes[1], shard_ids=shard_ids).splitlines() == [
        f"{zeros}00 127.0.0.1:1@10001{first} master - 0 0 1 disconnected 0-8191",
        f"{zeros}01 127.0.0.1:1@10001{second} master - 0 0 2 disconnected 8192-16383",
        f"{zeros}a0 127.0.0.1:7000@17000{first} slave {zeros}00 0 0 0 connected",
        f"{zeros}a1 127.0.0.1:7001@17001{second} myself,slave {zeros}01 0 0 0 connected",
        f"{zeros}a2 127.0.0.1:7002@17002{first} slave {zeros}00 0 0 0 connected",
        f"{zeros}a3 127.0.0.1:7003@17003{second} slave {zeros}01 0 0 0 connected",
        "vars currentEpoch 2 lastVoteEpoch 0",
    ]


@given(st.integers(2, 40), st.integers(0, 2), st.data())
def test_every_map_names_all_slots_once_and_every_node(
    shards: int, replicas: int, data: st.DataObject
) -> None:
    nodes = cluster(shards, replicas)
    myself = data.draw(st.sampled_from(nodes))
    lines = [line.split() for line in slot_map(nodes, myself, shard_ids=True).splitlines()[:-1]]
    owned = [tuple(map(int, words[8].split("-"))) for words in lines if len(words) > 8]
    assert [slot for first, last in owned for slot in range(first, last + 1)] == list(range(SLOTS))
    assert [words[0] for words in lines if "slave" in words[2]] == [node.identity for node in nodes]
    assert [words[0] for words in lines if "myself" in words[2]] == [myself.identity]
    assert len({words[0] for words in lines}) == len(lines)


def test_one_shard_has_no_map() -> None:
    alone = Node("database_0", 0, Endpoint("127.0.0.1", 7000), Path("/run"))
    with pytest.raises(AssertionError, match="slot map"):
        slot_map([alone], alone, shard_ids=False)
