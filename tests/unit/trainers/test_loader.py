"""The loader: batches are ready when they are needed, and nothing that it read is lost or drawn twice."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from sim_clients import Bound, MemoryClient, MemoryDatabase
from tests.unit.trainers.stranger import putting
from trainers import Fifo, NonFiniteField, NoSamples, Pairs, Reservoir, StreamStalled
from trainers.batches import batch_of, moved, pinned
from trainers.intake import Intake
from trainers.loader import Loader
from trainers.pairing import Pairing
from trainers.stream import SnapshotStream

BATCH = 4
HELD_OUT = 2


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase()


def put(database: MemoryDatabase, steps: range, *, end: bool = True) -> None:
    """Have `a` put values to learn from, 0, 1, 2, …, and `b` two to judge by, -1 and -2, before them."""
    judge, solver = (MemoryClient(database, name) for name in ("b", "a"))
    for step in range(HELD_OUT) if steps.start == 0 else ():
        judge.put_snapshot(step, {"x": np.full(2, -1 - step, np.float32)})
    for step in steps:
        solver.put_snapshot(step, {"x": np.full(2, step, np.float32)})
    if end:
        judge.end_stream()
        solver.end_stream()


def intake_of(database: MemoryDatabase, buffer: Fifo | Reservoir) -> Intake:
    stream = SnapshotStream(MemoryClient(database), ("a", "b"), consumer="net")
    stream.subscribe()
    return Intake(stream, Pairing(["x"], "x", 0), buffer, ("b",), judges_needed=HELD_OUT, batch_size=BATCH)


def values(loader: Loader) -> Iterator[float]:
    """Take batches until there are no more, and yield the value of each of their samples."""
    while (batch := loader.batch()) is not None:
        yield from batch["x"][:, 0].tolist()


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_every_sample_comes_once_and_in_order(database: MemoryDatabase, ahead: int) -> None:
    put(database, range(30))
    with Loader(intake_of(database, Fifo(8, seed=0)), ahead=ahead) as loader:
        assert list(values(loader)) == list(range(30))
        assert loader.exhausted
        assert loader.judges()["x"][:, 0].tolist() == [-1, -2]
        assert loader.batch() is None


@pytest.mark.parametrize("ahead", [0, 2])
def test_what_was_drawn_and_not_taken_is_in_the_state(database: MemoryDatabase, ahead: int) -> None:
    put(database, range(40))
    first = intake_of(database, Fifo(12, seed=0))
    with Loader(first, ahead=ahead) as loader:
        taken = [loader.batch() for _ in range(3)]
        with loader.paused() as intake:
            state = loader.state_dict()
            read = intake.stream.cursor
    learned = [value for batch in taken if batch for value in batch["x"][:, 0].tolist()]
    assert read > len(learned) + HELD_OUT or ahead == 0  # there was something to lose
    again = Loader(intake_of(database, Fifo(12, seed=0)), ahead=ahead)
    again.load_state_dict(state)
    with again:
        assert learned + list(values(again)) == list(range(40))


@pytest.mark.parametrize("ahead", [0, 2])
def test_what_goes_wrong_in_reading_is_raised_where_a_batch_is_asked_for(
    database: MemoryDatabase, ahead: int
) -> None:
    put(database, range(8), end=False)
    MemoryClient(database, "a").put_snapshot(8, {"x": np.array([np.nan, 0], np.float32)})
    with (
        Loader(intake_of(database, Fifo(100, seed=0)), ahead=ahead) as loader,
        pytest.raises(NonFiniteField, match=r"'x' of the snapshot 'a\.0\.8' has 1 values") as caught,
    ):
        list(values(loader))
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "check_finite" in frames and "values" in frames


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_stream_without_snapshots_is_told_by_name(database: MemoryDatabase, ahead: int) -> None:
    with (
        Loader(intake_of(database, Fifo(8, seed=0)), ahead=ahead, timeout_s=0.05) as loader,
        pytest.raises(StreamStalled, match=r"0 snapshots were read \(still running: a\.0, b\.0\)"),
    ):
        loader.batch()
    put(database, range(0))
    with (
        Loader(intake_of(database, Fifo(8, seed=0)), ahead=ahead) as loader,
        pytest.raises(NoSamples, match="0 samples to learn from, 1 are needed, and 2 held-out ones"),
    ):
        loader.batch()


@pytest.fixture
def stranger(database: MemoryDatabase) -> Iterator[None]:
    """Somebody whom nobody has named puts snapshots, without an end."""
    with putting(database, {"x": np.zeros(2, np.float32)}):
        yield


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("judged", [False, True])
def test_snapshots_of_others_put_no_deadline_off(database: MemoryDatabase, ahead: int, judged: bool) -> None:
    put(database, range(0), end=False) if judged else None
    absent = "a" if judged else "a, b"
    said = rf"nothing of use .* Nothing came from {absent}\. Nobody has named A, whose snapshots came"
    with (
        pytest.warns(RuntimeWarning, match="snapshots of 'A' are not learned from"),
        Loader(intake_of(database, Fifo(8, seed=0)), ahead=ahead, timeout_s=0.2) as loader,
        pytest.raises(StreamStalled, match=said),
    ):
        loader.batch()


@pytest.mark.parametrize("ahead", [0, 2])
def test_who_ends_in_the_last_pause_before_the_deadline_ends_in_order(
    database: MemoryDatabase, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline passes between the look that finds the end of the stream and the next."""
    put(database, range(BATCH))
    intake, over = intake_of(database, Fifo(8, seed=0)), threading.Event()
    drain = intake._drain

    def late() -> None:
        drain()
        over.set()

    monkeypatch.setattr(intake, "_drain", late)
    monkeypatch.setattr("trainers.stream.Pauses.over", property(lambda pauses: over.is_set()))
    with Loader(intake, ahead=ahead) as loader:
        assert len(list(values(loader))) == BATCH
        assert loader.exhausted


def test_snapshots_that_never_make_a_pair_put_no_deadline_off(database: MemoryDatabase) -> None:
    put(database, range(0), end=False)
    for step in range(0, 400, 10):
        MemoryClient(database, "a").put_snapshot(step, {"x": np.zeros(2, np.float32)})
    intake = intake_of(database, Fifo(8, seed=0))
    intake.buffer = Pairs(["x"], "x", [1], snapshots=8, seed=0)
    with (
        Loader(intake, ahead=0, timeout_s=0.05) as loader,
        pytest.raises(StreamStalled, match="nothing of use in the stream"),
    ):
        loader.batch()


def test_how_many_were_skipped_is_told(database: MemoryDatabase) -> None:
    for step in range(5):
        MemoryClient(database, "a").put_snapshot(step, {"x": np.full(2, np.nan, np.float32)})
    intake = intake_of(database, Fifo(8, seed=0))
    intake.stream = SnapshotStream(MemoryClient(database), ("a", "b"), consumer="net", non_finite="skip")
    intake.stream.subscribe()
    with (
        Loader(intake, ahead=0, timeout_s=0.05) as loader,
        pytest.raises(StreamStalled, match=r"nothing of use .* 5 were skipped for NaN or infinity\."),
    ):
        loader.batch()


def test_surplus_judges_are_of_no_use(database: MemoryDatabase) -> None:
    put(database, range(0), end=False)
    judge = MemoryClient(database, "b")
    for step in range(HELD_OUT, HELD_OUT + 20):
        judge.put_snapshot(step, {"x": np.zeros(2, np.float32)})
    with (
        Loader(intake_of(database, Fifo(8, seed=0)), ahead=0, timeout_s=0.05) as loader,
        pytest.raises(
            StreamStalled, match=r"nothing of use .* 22 snapshots were read .*Nothing came from a\."
        ),
    ):
        loader.batch()


def test_what_is_ready_is_handed_out_however_long_nothing_new_has_come(database: MemoryDatabase) -> None:
    put(database, range(2 * BATCH), end=False)
    with Loader(intake_of(database, Fifo(8, seed=0)), ahead=2, timeout_s=0.05) as loader:
        wait_until(lambda: len(loader._batches) == 2)
        time.sleep(0.2)  # a step that takes longer than producers may be silent
        assert [loader.batch() is not None for _ in range(2)] == [True, True]
        with pytest.raises(StreamStalled):
            loader.batch()


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_no_more_is_ready_than_was_asked_for_and_the_rest_waits_with_the_producers(
    database: MemoryDatabase,
) -> None:
    MemoryClient(database).bound_stream(Bound(items=6))
    intake = intake_of(database, Fifo(8, seed=0))
    solver = threading.Thread(target=put, args=(database, range(100)), daemon=True)
    solver.start()
    with Loader(intake, ahead=2) as loader:
        learned: list[float] = []
        while not loader.exhausted:
            batch = loader.batch()
            with loader.paused():
                ready = len(loader.state_dict()["drawn"])
                assert ready <= 2 and len(intake.buffer) <= 8
                fill = MemoryClient(database).fill()
                assert fill.announced - len(learned) <= 6 + 8 + 3 * BATCH + HELD_OUT
                if loader.pressed:
                    intake.stream.acknowledge()
                    loader.pressed = False
            learned += [] if batch is None else batch["x"][:, 0].tolist()
    solver.join(10)
    assert not solver.is_alive()
    assert learned == list(range(100))


def test_who_has_paused_it_has_the_stream_for_himself(database: MemoryDatabase) -> None:
    intake = intake_of(database, Reservoir(100, watermark=4, seed=0))
    put(database, range(8), end=False)
    with Loader(intake, ahead=2) as loader:
        assert loader.batch() is not None
        with loader.paused():
            before = intake.stream.cursor
            for step in range(8, 16):
                put(database, range(step, step + 1), end=False)
            assert loader.batch() is not None and intake.stream.cursor == before
        while intake.stream.cursor < HELD_OUT + 16:
            assert loader.batch() is not None


def test_it_ends_at_once_while_it_waits_for_snapshots(database: MemoryDatabase) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    loader = Loader(intake_of(database, Fifo(8, seed=0)), ahead=2)
    with pytest.raises(KeyboardInterrupt), loader:
        loader.batch(unless=interrupted)
    assert not [thread for thread in threading.enumerate() if thread.name == "penstock-loader"]


def test_who_is_told_to_end_gets_no_batch(database: MemoryDatabase) -> None:
    with Loader(intake_of(database, Fifo(8, seed=0)), ahead=2) as loader:
        assert loader.batch(unless=lambda: True) is None
        assert not loader.exhausted
        assert loader.idle_s > 0


def test_a_batch_goes_to_the_device() -> None:
    batch = batch_of([{"x": np.zeros((2, 3), np.float32)}])
    assert moved(batch, torch.device("meta"))["x"].device.type == "meta"
    cpu = torch.device("cpu")
    assert moved(pinned(batch, cpu), cpu) is batch


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_batch_for_a_gpu_leaves_from_page_locked_memory() -> None:
    gpu = torch.device("cuda")
    batch = pinned(batch_of([{"x": np.ones((2, 3), np.float32)}]), gpu)
    assert batch["x"].is_pinned()
    assert moved(batch, gpu)["x"].sum().item() == 6
