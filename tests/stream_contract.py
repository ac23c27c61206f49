"""What every client must do with the bounds of streams; `ClientContract` inherits it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim_clients import (
    Bound,
    Client,
    ClientError,
    IncompleteSnapshot,
    NameRefused,
    Outcome,
    SnapshotDropped,
    StreamError,
    StreamFull,
)

OpenClient = Callable[..., Client]
DEADLINE_S = 30.0
BRIEF_S = 0.05

U = np.arange(12, dtype=np.float32).reshape(3, 4)


def put(client: Client, *steps: int) -> list[str]:
    """Put snapshots, each with the step in its field, and return what became of them."""
    return [client.put_snapshot(step, {"u": U + step}, time=0.5 * step).outcome.value for step in steps]


def check(client: Client, position: int, step: int) -> None:
    """Check that a position has the snapshot of a step."""
    found = client.get_snapshot(position)
    assert (found.step, found.time) == (step, 0.5 * step)
    np.testing.assert_array_equal(found.fields["u"], U + step)


def await_waiting(client: Client, count: int) -> None:
    """Wait until so many producers wait for room."""
    until = time.monotonic() + DEADLINE_S
    while client.fill().waiting != count:
        assert time.monotonic() < until, client.fill()
        time.sleep(0.002)


class StreamContract:
    """The tests; see the module's docstring."""

    def test_a_bound_is_a_bound(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        with pytest.raises(StreamError, match="a bound is a Bound, got 64") as caught:
            client.bound_stream(64)  # type: ignore[arg-type]
        assert caught.value.stream == "snapshots"

    def test_a_bound_that_contradicts_the_one_that_is_set(self, open_client: OpenClient) -> None:
        client, other = open_client("heat_0"), open_client("heat_1")
        client.bound_stream(Bound(items=3))
        other.bound_stream(Bound(items=3))
        with pytest.raises(StreamError, match="3") as caught:
            other.bound_stream(Bound(items=4))
        assert "4" in str(caught.value)
        other.bound_stream(Bound(items=4), stream="other")
        assert (client.fill().bound, client.fill("other").bound) == (Bound(items=3), Bound(items=4))

    def test_names_of_streams_and_consumers(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        calls: list[Callable[[str, str], object]] = [
            lambda consumer, stream: client.subscribe(consumer, stream),
            lambda consumer, stream: client.acknowledge(0, consumer, stream),
            lambda consumer, stream: client.unsubscribe(consumer, stream),
        ]
        for call in calls:
            with pytest.raises(NameRefused, match="stream"):
                call("trainer", "a stream")
            with pytest.raises(NameRefused, match="consumer"):
                call("", "snapshots")
        with pytest.raises(NameRefused, match="stream"):
            client.fill("{s}")

    def test_what_cannot_be_acknowledged(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        put(client, 0, 1)
        for call in (lambda: client.acknowledge(1, "nobody"), lambda: client.unsubscribe("nobody")):
            with pytest.raises(StreamError, match="'nobody' has not subscribed to the stream 'snapshots'"):
                call()
        client.subscribe("trainer")
        with pytest.raises(StreamError, match="0 to 2, which is how many are announced"):
            client.acknowledge(3, "trainer")
        for position in (-1, 1.5, "1"):
            with pytest.raises(StreamError, match="a position is a whole number"):
                client.acknowledge(position, "trainer")  # type: ignore[arg-type]
        assert client.fill().consumers == {"trainer": 0}
        check(client, 0, 0)

    def test_a_stream_without_bound_keeps_all(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        assert client.fill().items == client.fill().announced == 0
        assert put(client, 0, 1, 2) == ["stored"] * 3
        fill = client.fill()
        assert (fill.items, fill.bytes, fill.announced, fill.kept_from) == (3, 3 * U.nbytes, 3, 0)
        assert fill.bound.policy == "block" and fill.bound.bytes and fill.level < 0.1

    def test_a_full_stream_that_blocks_says_who_is_slow(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.bound_stream(Bound(items=3, wait_s=BRIEF_S))
        put(client, 0, 1, 2)
        assert client.fill().level == 1.0
        with pytest.raises(StreamFull, match="nobody has subscribed") as caught:
            put(client, 3)
        assert caught.value.stream == "snapshots" and "keeps 3 snapshots" in caught.value.reason
        reader, slow = open_client("reader"), open_client("slow")
        assert reader.subscribe("reader") == slow.subscribe("slow") == 0
        reader.acknowledge(3, "reader")
        with pytest.raises(StreamFull, match="slowest consumer 'slow' has acknowledged 0 of 3"):
            put(client, 3)
        assert client.fill().slowest == "slow" and client.announced() == 3
        for step in range(3):
            check(reader, step, step)

    def test_what_all_have_acknowledged_makes_room(self, open_client: OpenClient) -> None:
        client, reader = open_client("heat_0"), open_client("reader")
        client.bound_stream(Bound(items=3, wait_s=BRIEF_S))
        reader.subscribe("a")
        reader.subscribe("b")
        put(client, 0, 1, 2)
        reader.acknowledge(2, "a")
        reader.acknowledge(1, "b")
        reader.acknowledge(0, "b")  # what was acknowledged stays so
        fill = reader.fill()
        assert (fill.items, fill.bytes, fill.kept_from) == (2, 2 * U.nbytes, 1)
        assert fill.consumers == {"a": 2, "b": 1} and fill.slowest == "b"
        with pytest.raises(SnapshotDropped, match=r"heat_0\.0\.0.*under the policy block") as caught:
            reader.get_snapshot(0)
        assert (caught.value.snapshot, caught.value.policy) == ("heat_0.0.0", "block")
        check(reader, 1, 1)
        assert put(client, 3) == ["stored"]
        with pytest.raises(StreamFull):
            put(client, 4)
        assert client.announced() == 4
        check(reader, 3, 3)

    def test_a_producer_waits_until_there_is_room(self, open_client: OpenClient) -> None:
        producers = [open_client(f"heat_{i}") for i in range(3)]
        reader = open_client("reader")
        reader.bound_stream(Bound(items=1))
        reader.subscribe("trainer")
        put(producers[0], 0)
        threads = [threading.Thread(target=put, args=(producer, 1)) for producer in producers]
        for count, thread in enumerate(threads):
            thread.start()
            await_waiting(reader, count + 1)
        assert reader.announced() == 1
        for position in range(4):
            reader.get_snapshot(position)
            reader.acknowledge(position + 1, "trainer")
            if position < 3:
                threads[position].join(DEADLINE_S)
                assert not threads[position].is_alive()
        assert reader.announced() == 4 and reader.fill().items == 0

    def test_who_leaves_makes_room_for_ever(self, open_client: OpenClient) -> None:
        client, reader = open_client("heat_0"), open_client("reader")
        client.bound_stream(Bound(items=2))
        reader.subscribe("reader")
        put(client, 0, 1)
        reader.unsubscribe("reader")
        assert reader.fill().items == 0 and reader.fill().consumers == {}
        assert put(client, 2, 3, 4, 5) == ["stored"] * 4
        with pytest.raises(StreamError, match="has not subscribed"):
            reader.unsubscribe("reader")
        at = reader.subscribe("late")
        assert client.fill().kept_from == at

    def test_a_consumer_goes_on_where_it_was(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        open_client("trainer").subscribe("trainer")
        put(client, 0, 1, 2)
        open_client("trainer").acknowledge(2, "trainer")
        assert open_client("trainer").subscribe("trainer") == 2
        assert open_client("late").subscribe("late") == 2

    def test_bytes_bound_too(self, open_client: OpenClient) -> None:
        client = open_client("heat_0")
        client.bound_stream(Bound(bytes=3 * U.nbytes - 1, wait_s=BRIEF_S))
        put(client, 0, 1)
        with pytest.raises(StreamFull):
            put(client, 2)
        client.bound_stream(Bound(bytes=100), "small")
        with pytest.raises(StreamFull, match="never fits"):
            open_client("large").put_snapshot(0, {"u": np.zeros(100)}, stream="small")
        assert client.fill().items == 2

    def test_drop_oldest(self, open_client: OpenClient) -> None:
        client, reader = open_client("heat_0"), open_client("reader")
        client.bound_stream(Bound(items=3, policy="drop_oldest"))
        reader.subscribe("reader")
        assert put(client, *range(7)) == ["stored"] * 7
        fill = reader.fill()
        assert (fill.items, fill.announced, fill.kept_from, fill.dropped) == (3, 7, 4, 4)
        for position in range(4):
            with pytest.raises(SnapshotDropped, match=r"under the policy drop_oldest.*keeps from 4 on"):
                reader.get_snapshot(position)
        for position in range(4, 7):
            check(reader, position, position)

    def test_drop_newest(self, open_client: OpenClient) -> None:
        client, reader = open_client("heat_0"), open_client("reader")
        client.bound_stream(Bound(items=2, policy="drop_newest"))
        reader.subscribe("reader")
        assert put(client, *range(5)) == ["stored", "stored", "skipped", "skipped", "skipped"]
        fill = reader.fill()
        assert (fill.items, fill.announced, fill.skipped, fill.dropped) == (2, 2, 3, 0)
        reader.acknowledge(1, "reader")
        assert put(client, 5) == ["stored"]
        check(reader, 2, 5)

    def test_thin(self, open_client: OpenClient) -> None:
        client, reader = open_client("heat_0"), open_client("reader")
        client.bound_stream(Bound(items=2, policy="thin", keep_every=3, wait_s=BRIEF_S))
        reader.subscribe("reader")
        assert put(client, 0, 1, 2, 3) == ["stored", "stored", "skipped", "skipped"]
        with pytest.raises(StreamFull):
            put(client, 4)
        reader.acknowledge(1, "reader")
        assert put(client, 4, 5) == ["stored", "skipped"]
        assert (reader.fill().skipped, reader.announced()) == (3, 3)

    def test_spill(self, open_client: OpenClient, tmp_path: Path) -> None:
        client, reader = open_client("heat/0"), open_client("reader")
        client.bound_stream(Bound(items=2, policy="spill", directory=tmp_path))
        reader.subscribe("reader")
        assert put(client, 0, 1, 2, 3) == ["stored", "stored", "spilled", "spilled"]
        fields = {"u/v": np.asfortranarray(U), ".w": U[:, ::2], "n": np.arange(3, dtype=np.int16)}
        other = open_client("other")
        other.bound_stream(Bound(items=1, policy="spill", directory=tmp_path), "other")
        other.put_snapshot(0, fields, stream="other")
        assert other.put_snapshot(1, fields, stream="other").outcome is Outcome.SPILLED
        fill = reader.fill()
        assert (fill.items, fill.spilled, fill.announced) == (2, 2, 4)
        for position in range(4):
            check(reader, position, position)
        assert reader.get_snapshot(3).outcome is Outcome.SPILLED
        assert reader.get_snapshot(0).outcome is Outcome.STORED
        found = reader.get_snapshot(1, "other")
        assert found.time is None and found.fields.keys() == fields.keys()
        for name, value in fields.items():
            np.testing.assert_array_equal(found.fields[name], value)
            assert found.fields[name].dtype == value.dtype
        (place,) = tmp_path.glob("**/snapshots/heat%2F0.0.2")
        np.testing.assert_array_equal(np.load(place / "u.npy"), U + 2)
        assert sorted(path.name for path in place.parent.iterdir()) == [
            "heat%2F0.0.2",
            "heat%2F0.0.3",
        ]
        reader.acknowledge(3, "reader")
        assert not place.exists()
        with pytest.raises(SnapshotDropped, match="under the policy spill"):
            reader.get_snapshot(2)
        assert put(client, 4, 5, 6) == ["stored", "stored", "spilled"]

    def test_spilled_files_that_are_gone(self, open_client: OpenClient, tmp_path: Path) -> None:
        client = open_client("heat_0")
        client.bound_stream(Bound(items=1, policy="spill", directory=tmp_path))
        put(client, 0, 1, 2)
        (first,) = tmp_path.glob("**/snapshots/heat_0.0.1/u.npy")
        first.unlink()
        with pytest.raises(IncompleteSnapshot, match=r"on host .* cannot be read.*heat_0\.0\.1/u\.npy"):
            client.get_snapshot(1)
        (second,) = tmp_path.glob("**/snapshots/heat_0.0.2/u.npy")
        second.write_bytes(b"\x93NUMPYgarbage")
        with pytest.raises(ClientError, match=r"heat_0\.0\.2/u\.npy"):
            client.get_snapshot(2)

    def test_a_stream_that_is_forgotten_keeps_no_bound_no_consumers_and_no_files(
        self, open_client: OpenClient, tmp_path: Path
    ) -> None:
        client = open_client("heat_0")
        client.bound_stream(Bound(items=1, policy="spill", directory=tmp_path))
        client.subscribe("reader")
        assert put(client, 0, 1) == ["stored", "spilled"]
        client.forget_stream()
        fill = client.fill()
        assert (fill.announced, fill.items, fill.spilled, dict(fill.consumers)) == (0, 0, 0, {})
        assert not list(tmp_path.rglob("*.npy"))
        client.bound_stream(Bound(items=5))
        assert put(client, 0) == ["stored"]

    def test_a_stream_that_is_forgotten_counts_anew_what_it_thins(self, open_client: OpenClient) -> None:
        client, late = open_client("heat_0"), open_client("heat_1")
        bound = Bound(items=1, policy="thin", keep_every=3, wait_s=BRIEF_S)
        client.bound_stream(bound)
        assert put(client, 0) == ["stored"]
        assert put(late, 0) == ["skipped"]
        client.forget_stream()
        client.bound_stream(bound)
        assert put(client, 0) == ["stored"]
        assert put(late, 1, 2) == ["skipped", "skipped"]
        with pytest.raises(StreamFull):
            put(late, 3)

    def test_spilling_where_nobody_can_write(self, open_client: OpenClient, tmp_path: Path) -> None:
        client = open_client("heat_0")
        (tmp_path / "file").write_text("")
        client.bound_stream(Bound(items=1, policy="spill", directory=tmp_path / "file"))
        put(client, 0)
        with pytest.raises(ClientError, match=r"cannot be spilled to .*/file/.*snapshots"):
            put(client, 1)
        assert client.announced() == 1

    def test_a_step_that_is_put_again_takes_the_place_of_the_first(self, open_client: OpenClient) -> None:
        put(open_client("heat_0"), 0, 1, 2)
        again, reader = open_client("heat_0"), open_client("reader")
        reader.subscribe("reader")
        put(again, 1, 2, 3)
        assert (reader.fill().items, reader.fill().announced) == (4, 6)
        reader.acknowledge(3, "reader")  # the first lives of 1 and 2 are over, their data is the second's
        for position, step in ((3, 1), (4, 2), (5, 3)):
            check(reader, position, step)
        reader.acknowledge(6, "reader")
        assert (reader.fill().items, reader.fill().bytes) == (0, 0)
        with pytest.raises(SnapshotDropped):
            reader.get_snapshot(4)
