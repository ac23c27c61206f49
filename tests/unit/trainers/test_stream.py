"""The cursor over announced snapshots: order, completeness, waiting, ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sim_clients import (
    Block,
    Bound,
    Field,
    IncompleteSnapshot,
    MemoryClient,
    MemoryDatabase,
    SnapshotError,
    keys,
)
from trainers import NonFiniteField, SnapshotStream, StreamStalled, StreamTaken
from trainers.cursor import MARKS
from trainers.redistribution import stream_of
from trainers.share import Share
from trainers.stream import Pauses


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


def put(database: MemoryDatabase, producer: str, *steps: int, rank: int = 0) -> MemoryClient:
    client = MemoryClient(database, producer, rank)
    for step in steps:
        client.put_snapshot(step, {"u": np.full((2, 2), step, np.float32)})
    return client


def put_plain(database: MemoryDatabase, producer: str, step: int, **fields: np.ndarray) -> None:
    """Put a snapshot as a plain SmartRedis program does, which knows of no contract."""
    contracts = dict(database.contracts)
    database.contracts.clear()
    MemoryClient(database, producer).put_snapshot(step, fields)
    database.contracts.clear()
    database.contracts.update(contracts)


def test_each_snapshot_comes_once_in_order(database: MemoryDatabase) -> None:
    reader = SnapshotStream(MemoryClient(database))
    assert reader.new() == []
    put(database, "a", 0, 1)
    put(database, "b", 5)
    assert [s.name for s in reader.new(limit=2)] == ["a.0.0", "a.0.1"]
    assert [s.name for s in reader.new()] == ["b.0.5"]
    assert reader.new() == []
    assert reader.cursor == 3


def test_the_stream_ends_with_the_last_rank_of_the_last_producer(database: MemoryDatabase) -> None:
    reader = SnapshotStream(MemoryClient(database), ["a", "b"], ranks=2)
    clients = [put(database, name, 0, rank=rank) for name in "ab" for rank in (0, 1)]
    for client in clients:
        assert not reader.ended()
        client.end_stream()
    assert reader.ended()
    assert len(list(reader)) == 4
    assert reader.wait() == []


def test_what_was_announced_before_the_end_is_read(database: MemoryDatabase) -> None:
    put(database, "a", *range(20)).end_stream()
    assert [s.step for s in SnapshotStream(MemoryClient(database), ["a"])] == list(range(20))


def test_waiting_ends_with_the_first_new_snapshot(database: MemoryDatabase) -> None:
    waiting = threading.Event()

    class Watched(MemoryClient):
        def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
            count = super().announced(stream)
            waiting.set()
            return count

    def produce() -> None:
        waiting.wait()
        put(database, "a", 3)

    producer = threading.Thread(target=produce)
    producer.start()
    found = SnapshotStream(Watched(database), ["a"], timeout_s=30).wait()
    producer.join()
    assert [s.step for s in found] == [3]


def test_silence_is_an_error_that_says_who_is_silent(database: MemoryDatabase) -> None:
    put(database, "a", 0).end_stream()
    reader = SnapshotStream(MemoryClient(database), ["a", "b"], timeout_s=0.05)
    reader.new()
    with pytest.raises(StreamStalled, match=r"1 snapshots were read \(still running: b\.0\)") as caught:
        reader.wait()
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.running == ("b.0",)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"u": np.zeros((3, 2), np.float32)}, "'u' is float32"),
        ({"u": np.zeros((2, 2))}, "'u' is float64"),
        ({"v": np.zeros((2, 2), np.float32)}, "'u' is missing"),
        ({"u": np.zeros((2, 2), np.float32), "v": np.zeros(1)}, "'v' is new"),
    ],
)
def test_another_producer_with_other_fields_is_named(
    database: MemoryDatabase, fields: dict[str, np.ndarray], says: str
) -> None:
    put(database, "a", 0)
    put_plain(database, "odd", 9, **fields)
    reader = SnapshotStream(MemoryClient(database))
    assert [good.producer for good in reader.new()] == ["a"]
    with pytest.raises(SnapshotError, match=f"{says}.* the stream 'snapshots' has .*since a.0.0") as caught:
        reader.new()
    assert caught.value.snapshot == "odd.0.9"
    assert reader.cursor == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_solver_that_blew_up_is_named(database: MemoryDatabase, bad: float) -> None:
    client = put(database, "a", 0)
    client.put_snapshot(1, {"u": np.array([[1, bad], [bad, 1]], np.float32)})
    reader = SnapshotStream(MemoryClient(database))
    assert [good.step for good in reader.new()] == [0]  # what came before it is learned from
    with pytest.raises(NonFiniteField, match=r"'u' of the snapshot 'a\.0\.1' has 2 values") as caught:
        reader.new()
    assert (caught.value.field, caught.value.count) == ("u", 2)


def test_a_missing_field_is_waited_for_and_then_named(
    database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.stream.PATIENCE_S", 0.05)
    put(database, "a", 0)
    tensor = database.tensors.pop("{a.0.0}.u")
    reader = SnapshotStream(MemoryClient(database))
    with pytest.raises(IncompleteSnapshot, match="u"):
        reader.new()
    assert reader.cursor == 0
    database.tensors["{a.0.0}.u"] = tensor
    assert reader.new()[0].name == "a.0.0"


def test_a_resumed_stream_goes_on_and_still_knows_the_fields(database: MemoryDatabase) -> None:
    put(database, "a", 0, 1)
    before = SnapshotStream(MemoryClient(database))
    before.new(limit=1)
    after = SnapshotStream(MemoryClient(database))
    after.load_state_dict(before.state_dict())
    assert [s.step for s in after.new()] == [1]
    put_plain(database, "odd", 0, v=np.zeros(1))
    with pytest.raises(SnapshotError, match="'u' is missing"):
        after.new()


def test_without_a_contract_the_first_snapshot_is_the_pattern(database: MemoryDatabase) -> None:
    put_plain(database, "a", 0, u=np.zeros(3))
    put_plain(database, "b", 0, u=np.zeros(3))
    put_plain(database, "c", 0, u=np.zeros(4))
    reader = SnapshotStream(MemoryClient(database))
    assert [good.producer for good in reader.new()] == ["a", "b"]
    with pytest.raises(
        SnapshotError, match=r"'u' is float64 \(4,\); the stream .* float64 \(3,\) since a\.0\.0"
    ):
        reader.new()
    assert reader.cursor == 2


def test_the_contract_holds_for_the_first_snapshot_that_is_read_too(database: MemoryDatabase) -> None:
    client = put(database, "a", 0)
    database.stream(keys.DEFAULT_STREAM).entries.clear()
    put_plain(database, "odd", 0, v=np.zeros(1))
    with pytest.raises(SnapshotError, match=r"'u' is missing; .* since a\.0\.0"):
        SnapshotStream(client).new()


def test_blocks_of_one_shape_are_read_and_others_are_named(database: MemoryDatabase) -> None:
    for rank, length in enumerate((2, 2, 3)):
        part = Field(np.zeros(length), units="m", block=Block((7,), (2 * rank,)))
        MemoryClient(database, "a", rank).put_snapshot(0, {"u": part})
    reader = SnapshotStream(MemoryClient(database))
    assert len(reader.new(limit=1)) == 1
    resumed = SnapshotStream(MemoryClient(database))
    resumed.load_state_dict(reader.state_dict())
    says = r"'a\.2\.0'.* of the field 'u' is \(3,\), those read before it were \(2,\): a batch needs"
    for stream_ in (reader, resumed):
        assert len(stream_.new()) == 1
        with pytest.raises(SnapshotError, match=says):
            stream_.new()
        assert stream_.cursor == 2


def test_pauses_grow_and_end() -> None:
    pauses = Pauses(timeout_s=0.05)
    count = 0
    while pauses.pause():
        count += 1
    assert 2 <= count <= 25
    assert not pauses.pause()


def test_a_database_that_came_back_as_it_was_before_is_read_from_its_end(database: MemoryDatabase) -> None:
    put(database, "a", 0, 1, 2)
    reader = SnapshotStream(MemoryClient(database))
    assert len(reader.new()) == 3
    del database.stream(keys.DEFAULT_STREAM).entries[1:]
    assert reader.new() == [] and reader.cursor == 1
    put(database, "b", 7)
    assert [snapshot.name for snapshot in reader.new()] == ["b.0.7"]


def test_it_is_drained_when_all_have_ended_and_all_was_read(database: MemoryDatabase) -> None:
    client = put(database, "a", 0)
    reader = SnapshotStream(MemoryClient(database), ["a"])
    assert not reader.drained()
    client.end_stream()
    assert not reader.drained()
    reader.new()
    assert reader.drained()


def test_waiting_can_be_called_off(database: MemoryDatabase) -> None:
    assert SnapshotStream(MemoryClient(database), timeout_s=60).wait(unless=lambda: True) == []


def test_dropped_snapshots_are_passed_over_and_counted(database: MemoryDatabase) -> None:
    MemoryClient(database).bound_stream(Bound(items=2, policy="drop_oldest"))
    put(database, "a", 0, 1, 2, 3, 4)
    reader = SnapshotStream(MemoryClient(database), consumer="reader")
    reader.subscribe()
    assert [snapshot.step for snapshot in reader.new()] == [3, 4]
    assert (reader.missed, reader.cursor) == (3, 5)


def test_a_reader_without_a_name_acknowledges_nothing(database: MemoryDatabase) -> None:
    put(database, "a", 0, 1)
    reader = SnapshotStream(MemoryClient(database))
    reader.subscribe()
    assert len(reader.new()) == 2 and not reader.presses(look_every_s=0)
    reader.acknowledge()
    reader.leave()
    fill = MemoryClient(database).fill()
    assert (fill.items, fill.consumers) == (2, {})


def test_a_stream_presses_while_it_is_over_half_full_of_what_was_read(database: MemoryDatabase) -> None:
    MemoryClient(database).bound_stream(Bound(items=4))
    reader = SnapshotStream(MemoryClient(database), consumer="reader")
    reader.subscribe()
    put(database, "a", 0, 1)
    reader.new()
    assert not reader.presses(look_every_s=0)
    put(database, "b", 0)
    assert reader.presses(look_every_s=0) and not reader.presses(look_every_s=60)
    reader.new()
    reader.acknowledge()
    assert not reader.presses(look_every_s=0)
    assert MemoryClient(database).fill().items == 0
    reader.leave()
    assert MemoryClient(database).fill().consumers == {}


def test_a_database_that_came_back_older_and_without_the_reader_is_read_and_acknowledged_on(
    database: MemoryDatabase,
) -> None:
    reader = SnapshotStream(MemoryClient(database), consumer="reader")
    reader.subscribe()
    put(database, "a", 0, 1, 2)
    reader.new()
    reader.acknowledge()
    come_back(database, announced=1)
    assert reader.new() == []
    assert MemoryClient(database).fill().consumers == {"reader": 0}
    put(database, "b", 7)
    assert [snapshot.step for snapshot in reader.new()] == [7]
    reader.acknowledge()
    assert MemoryClient(database).fill().consumers == {"reader": 2}


def test_an_acknowledgement_to_a_database_that_lost_the_reader_is_made_as_far_as_it_goes(
    database: MemoryDatabase,
) -> None:
    reader = SnapshotStream(MemoryClient(database), consumer="reader")
    reader.subscribe()
    put(database, "a", 0, 1, 2)
    reader.new()
    come_back(database, announced=2)
    reader.acknowledge()
    assert MemoryClient(database).fill().consumers == {"reader": 2} and reader.cursor == 2
    come_back(database, announced=2)
    reader.leave()
    assert MemoryClient(database).fill().consumers == {}


def test_a_list_that_has_taken_the_place_of_the_one_that_was_read_is_read_from_its_beginning(
    database: MemoryDatabase,
) -> None:
    put(database, "a", *range(5))
    reader = SnapshotStream(MemoryClient(database), consumer="reader")
    reader.subscribe()
    assert len(reader.new()) == 5
    reader.acknowledge()
    state = reader.state_dict()
    for count in (3, 9):  # shorter, and longer, than what was read
        come_back(database, announced=0)
        put(database, "a", *range(10, 10 + count))
        resumed = SnapshotStream(MemoryClient(database), consumer="reader")
        resumed.load_state_dict(state)
        resumed.subscribe()
        assert [snapshot.step for snapshot in resumed.new()] == list(range(10, 10 + count))
        assert resumed.missed == 0
    reader.new()
    put(database, "a", 50)
    reader.new()
    reader.acknowledge()  # who has read on meanwhile finds out here
    assert [snapshot.step for snapshot in reader.new()] == [*range(10, 19), 50]


def test_of_a_list_that_came_back_older_and_has_grown_what_is_new_is_read(database: MemoryDatabase) -> None:
    put(database, "a", *range(300))
    reader = SnapshotStream(MemoryClient(database))
    assert len(reader.new()) == 300
    state = reader.state_dict()
    assert len(state["marks"]) <= MARKS
    come_back(database, announced=290)
    put(database, "b", *range(20))
    resumed = SnapshotStream(MemoryClient(database))
    resumed.load_state_dict(state)
    found = [snapshot.name for snapshot in resumed.new()]
    assert found[-20:] == [f"b.0.{step}" for step in range(20)] and len(found) <= 25


def test_two_readers_of_one_name_are_told_by_whom_the_other_has_overtaken(database: MemoryDatabase) -> None:
    put(database, "a", *range(8))
    first, second = (SnapshotStream(MemoryClient(database), consumer="m") for _ in range(2))
    for reader in (first, second):
        reader.subscribe()
        reader.new(limit=4)
    first.acknowledge()
    with pytest.raises(StreamTaken, match="as 'm': it has acknowledged 4 snapshots, this one 0"):
        second.acknowledge(2)
    first.new()
    first.acknowledge()
    assert MemoryClient(database).fill().consumers == {"m": 8}


def come_back(database: MemoryDatabase, announced: int) -> None:
    """Make a database what it is after a restart from an older file: fewer positions, no consumers."""
    stream = database.stream(keys.DEFAULT_STREAM)
    del stream.entries[announced:]
    stream.consumers.clear()
    stream.kept_from = 0


def test_what_ranks_skip_is_counted_once_when_they_go_on_from_the_slowest(database: MemoryDatabase) -> None:
    names = ["a", "b"]
    for step in range(6):
        value = np.full(2, np.nan if step in (2, 3) else step, np.float32)
        MemoryClient(database, "a").put_snapshot(step, {"u": value})

    def reader(rank: int) -> SnapshotStream:
        share = Share(rank, 2, names, (), together=False)
        return SnapshotStream(MemoryClient(database), names, non_finite="skip", share=share)

    ranks = [reader(rank) for rank in range(2)]
    assert [[s.step for s in ranks[0].new(limit=1)], [s.step for s in ranks[1].new()]] == [[0], [1, 5]]
    states = [rank.state_dict() for rank in ranks]
    resumed = [reader(rank) for rank in range(2)]
    for rank, again in enumerate(resumed):
        again.load_state_dict(stream_of(states, rank))
    assert sorted(s.step for again in resumed for s in again.new()) == [4]
    assert sum(again.non_finite for again in resumed) == 2


class Shrinking(MemoryClient):
    """A client whose database, once, comes back with two announcements after it was asked how many it has."""

    shrinks = False

    def announced(self, stream: str = keys.DEFAULT_STREAM) -> int:
        count = super().announced(stream)
        if self.shrinks:
            come_back(self._database, announced=2)
            self.shrinks = False
        return count


@pytest.mark.parametrize("shared", [False, True])
def test_a_database_that_comes_back_shorter_between_two_questions(
    database: MemoryDatabase, shared: bool
) -> None:
    put(database, "a", *range(6))
    client = Shrinking(database)
    share = Share(0, 1, ["a"], (), together=False) if shared else None
    reader = SnapshotStream(client, share=share)
    assert [s.step for s in reader.new(limit=1)] == [0]
    put(database, "b", 6, 7)
    client.shrinks = True
    found = reader.new()
    put(database, "c", 8, 9)
    found += reader.new()
    assert [s.name for s in found] == ["a.0.1", "c.0.8", "c.0.9"]


def test_a_shorter_list_is_planned_anew_before_the_cursor_has_passed_its_end(
    database: MemoryDatabase,
) -> None:
    put(database, "a", 0, 1, 2, 3)
    readers = [
        SnapshotStream(MemoryClient(database), share=Share(rank, 2, "ab", ("b",), together=False))
        for rank in range(2)
    ]
    assert [[s.name for s in reader.new(limit=1)] for reader in readers] == [["a.0.0"], ["a.0.1"]]
    come_back(database, announced=2)
    put(database, "b", 0)
    assert [[s.name for s in reader.new()] for reader in readers] == [["b.0.0"], []]
    put(database, "c", 4, 5)
    assert [[s.name for s in reader.new()] for reader in readers] == [["c.0.4"], ["c.0.5"]]
