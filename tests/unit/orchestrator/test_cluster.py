"""Slots and their owners, and descriptions of a database that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Orchestrator
from orchestrator.cluster import SLOTS, key_slot, key_within, slot_ranges
from orchestrator.errors import UsageError


@given(st.integers(1, 1000))
def test_every_slot_belongs_to_exactly_one_shard(shards: int) -> None:
    ranges = slot_ranges(shards)
    assert [slot for slots in ranges for slot in slots] == list(range(SLOTS))


@given(st.integers(1, 1000))
def test_shards_have_as_many_slots_as_each_other(shards: int) -> None:
    sizes = {len(slots) for slots in slot_ranges(shards)}
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(2, 64), st.data())
def test_a_key_can_be_made_for_each_shard(shards: int, data: st.DataObject) -> None:
    slots = data.draw(st.sampled_from(slot_ranges(shards)))
    assert key_slot(key_within(slots, "stem")) in slots


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 0x31C3),  # the check value of CRC16/XMODEM, in the Redis Cluster specification
        ("foo", 12182),
        ("{foo}.bar", 12182),
        ("a{foo}b{other}", 12182),
        ("", 0),
    ],
)
def test_slots_are_those_of_redis(key: str, slot: int) -> None:
    assert key_slot(key) == slot


@given(st.text(min_size=1).filter(lambda text: "}" not in text), st.text(), st.text())
def test_keys_with_one_hash_tag_share_a_slot(tag: str, before: str, after: str) -> None:
    assert key_slot(f"{before.replace('{', '')}{{{tag}}}{after}") == key_slot(f"{{{tag}}}")


def test_an_empty_hash_tag_is_none() -> None:
    assert key_slot("{}a") != key_slot("{}b")


@pytest.mark.parametrize("shards", [0, -1, 1001, 1.5, True, "3"])
def test_impossible_numbers_of_shards_are_refused(shards: int) -> None:
    with pytest.raises(UsageError, match="shards="):
        Orchestrator(shards=shards)


@pytest.mark.parametrize("replicas", [-1, 6, 1.5, True, "1", None])
def test_impossible_numbers_of_replicas_are_refused(replicas: Any) -> None:
    with pytest.raises(UsageError, match=r"replicas=.*0 to 5"):
        Orchestrator(shards=2, replicas=replicas)


def test_one_shard_has_no_replicas_and_the_refusal_says_what_has() -> None:
    with pytest.raises(UsageError, match=r"replicas=1.*shards=2.*append_only"):
        Orchestrator(replicas=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"port": 55535, "shards": 2},
        {"port": 55533, "shards": 2, "replicas": 1},
        {"port": "x"},
        {"port": 1.5},
        {"port": True},
    ],
)
def test_ports_that_cannot_be_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="port="):
        Orchestrator(**wrong)


@pytest.mark.parametrize("module", ["penstock_ai.so", 3, ["penstock_ai.so", 3]])
def test_module_must_be_a_list_of_text(module: Any) -> None:
    with pytest.raises(UsageError, match="module="):
        Orchestrator(module=module)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on_shard_failure": "panic"}, "one of stop, promote, restart"),
        ({"on_shard_failure": None}, "one of stop, promote, restart"),
        ({"on_shard_failure": "promote", "shards": 2}, "needs replicas=1"),
        ({"on_shard_failure": "restart", "shards": 2, "replicas": 1}, "throw away what they have"),
    ],
)
def test_what_a_dead_server_cannot_mean_is_refused(wrong: Any, said: str) -> None:
    with pytest.raises(UsageError, match=f"on_shard_failure=.*{said}"):
        Orchestrator(**wrong)
