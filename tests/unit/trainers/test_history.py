"""The history: judgements and events, a line that a kill cut off, and what a training writes beside it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim_clients import Field, MemoryClient, MemoryDatabase
from tests.unit.trainers.test_publish import load_torchscript
from tests.unit.trainers.test_train import TRAINING, network, reservoir
from trainers import FileNotWritten, TrainingRefused
from trainers.board import Board
from trainers.history import HISTORY, History, append_history, read_events, read_history
from trainers.specimen import FOLDER, MOST_BYTES, MOST_FILES, SAMPLES, stride_of, superfluous, write_specimen
from trainers.train import train

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def database() -> MemoryDatabase:
    """Two producers of a field with units, of which there are 20 snapshots each."""
    database = MemoryDatabase(load=load_torchscript)
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        client = MemoryClient(database, name)
        for step in range(20):
            x = generator.uniform(-1, 1, (4, 1)).astype(np.float32)
            client.put_snapshot(step, {"x": x, "y": Field(0.5 * x + 2, units="m s-1", dims=("i", "j"))})
        client.end_stream()
    client.subscribe("examiner")  # keeps them, whatever a training acknowledges
    return database


@pytest.fixture(scope="module")
def trained(database: MemoryDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a training that was asked for TensorBoard's files too."""
    pytest.importorskip("tensorboard")
    directory = tmp_path_factory.mktemp("trained")
    training = dataclasses.replace(TRAINING, tensorboard=True)
    train(network(), MemoryClient(database), training, reservoir(), directory)
    return directory


def test_events_are_no_judgements(tmp_path: Path) -> None:
    append_history(tmp_path, {"step": 1})
    append_history(tmp_path, {"event": "gate", "version": 1})
    append_history(tmp_path, {"step": 2})
    assert read_history(tmp_path) == [{"step": 1}, {"step": 2}]
    assert read_events(tmp_path) == [{"event": "gate", "version": 1}]


def test_a_line_that_was_cut_off_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    (tmp_path / HISTORY).write_text('{"step": 1}\n{"step": ')
    append_history(tmp_path, {"step": 3})
    assert (tmp_path / HISTORY).read_text().split("\n") == ['{"step": 1}', '{"step": ', '{"step": 3}', ""]


def test_a_follower_takes_each_line_and_is_closed_also_after_an_error(tmp_path: Path) -> None:
    class Kept:
        def __init__(self) -> None:
            self.lines: list[Any] = []

        def take(self, line: Any) -> None:
            self.lines.append(line)

        def close(self) -> None:
            self.lines.append("closed")

    kept = Kept()
    with pytest.raises(KeyboardInterrupt), History(tmp_path, kept) as history:
        history.append({"step": 1})
        raise KeyboardInterrupt
    assert kept.lines == [{"step": 1}, "closed"]
    assert read_history(tmp_path) == [{"step": 1}]


def test_a_training_tells_of_its_stream_and_its_buffer(trained: Path) -> None:
    *_, last = read_history(trained)
    assert (last["announced"], last["snapshots"], last["missed"]) == (40, 40, 0)
    assert (last["samples"], last["buffer_bytes"]) == (20, 20 * 2 * 4 * 4)
    assert last["batch_size"] == TRAINING.batch_size
    assert 0 <= last["age_median"] <= last["age_p90"] < 20


def test_a_posted_version_has_its_specimen(database: MemoryDatabase, trained: Path) -> None:
    client = MemoryClient(database)
    with np.load(trained / FOLDER / f"{client.model_version('line')}.npz") as specimen:
        assert specimen["truth"].shape == specimen["prediction"].shape == (SAMPLES, 4, 1)
        assert (specimen["field"], specimen["units"], specimen["stride"]) == ("y", "m s-1", 1)
        x = database.tensors["{b.0.0}.x"]
        np.testing.assert_allclose(specimen["prediction"][0], client.infer("line", x[None])[0], rtol=1e-5)
        np.testing.assert_array_equal(specimen["truth"][0], database.tensors["{b.0.0}.y"])


def test_specimens_are_bounded_in_number(tmp_path: Path) -> None:
    truth = np.zeros((5, 4, 4), np.float32)
    for version in range(1, 2 * MOST_FILES + 1):
        write_specimen(tmp_path, version, "u", truth, lambda count: truth[:count] + 1)
    files = sorted(int(path.stem) for path in (tmp_path / FOLDER).iterdir())
    assert files == [1, *range(MOST_FILES + 2, 2 * MOST_FILES + 1)]


def test_a_large_field_is_thinned_and_says_so(tmp_path: Path) -> None:
    truth = np.arange(2 * 700 * 900, dtype=np.float32).reshape(2, 700, 900)
    write_specimen(tmp_path, 1, "u", truth, lambda count: truth[:count] + 1)
    with np.load(tmp_path / FOLDER / "1.npz") as specimen:
        np.testing.assert_array_equal(specimen["truth"], truth[:, ::2, ::2])
        np.testing.assert_array_equal(specimen["prediction"], truth[:, ::2, ::2] + 1)
        assert (specimen["stride"], specimen["units"]) == (2, "")
        np.testing.assert_array_equal(specimen["shape"], [700, 900])


@pytest.mark.parametrize("shape", [(), (1,), (10**6,), (512, 512), (513, 512), (300, 300, 300), (2, 10**7)])
def test_a_stride_is_the_least_that_is_small_enough(shape: tuple[int, ...]) -> None:
    def nbytes(stride: int) -> float:
        return 4 * float(np.prod([len(range(0, points, stride)) for points in shape]))

    stride = stride_of(shape, 4)
    assert nbytes(stride) <= MOST_BYTES
    assert stride == 1 or nbytes(stride - 1) > MOST_BYTES


def test_the_first_version_and_the_last_ones_are_kept() -> None:
    assert superfluous([]) == superfluous([3, 1, 2]) == []
    assert superfluous(list(range(1, MOST_FILES + 1))) == []
    assert superfluous(list(range(1, MOST_FILES + 3))) == [2, 3]


def test_tensorboard_has_the_history(trained: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    lines = read_history(trained)
    for name in ("loss", "validation", "samples", "announced", "age_median"):
        written = [(event.step, event.value) for event in events.Scalars(name)]
        assert written == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]
    posted = [
        (event.step, event.tensor_proto.string_val[0]) for event in events.Tensors("posted/text_summary")
    ]
    assert posted == [
        (line["step"], f"posted as version {line['version']}".encode()) for line in lines if line["version"]
    ]
    assert [event.wall_time for event in events.Scalars("loss")] == [line["unix_time"] for line in lines]


def test_tensorboard_has_events_and_forgets_what_was_done_again(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    lives = ([(10, 1.0), (20, 0.5), (30, 0.4)], [(20, 0.6), (30, 0.3)])  # killed, and resumed before step 20
    for life, lines in enumerate(lives):
        with History(tmp_path, Board(tmp_path)) as history:
            for step, loss in lines:
                history.append(
                    {"unix_time": 100.0 * life + step, "step": step, "loss": loss, "version": None}
                )
            gate = {
                "event": "gate",
                "unix_time": 1000.0,
                "version": life,
                "accepted": False,
                "reason": "worse",
            }
            history.append(gate)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 3)) for event in events.Scalars("loss")] == [
        (10, 1.0),
        (20, 0.6),
        (30, 0.3),
    ]
    text = events.Tensors("gate/text_summary")[-1].tensor_proto.string_val[0]
    assert text == b"event gate, version 1, accepted False, reason worse"


def test_without_the_package_tensorboard_nothing_begins(
    database: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    training = dataclasses.replace(TRAINING, tensorboard=True)
    with pytest.raises(TrainingRefused, match=r"tensorboard.*pip install tensorboard"):
        train(network(), MemoryClient(database), training, reservoir(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_history_is_json_line_by_line(tmp_path: Path) -> None:
    append_history(tmp_path, {"reason": "two\nlines"})
    assert [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()] == [
        {"reason": "two\nlines"}
    ]


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    append_history(tmp_path, {"step": 1})
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"step": 2, "lo')
    append_history(tmp_path, {"step": 3})
    assert [line["step"] for line in read_history(tmp_path)] == [1, 3]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / HISTORY).mkdir()
    with pytest.raises(FileNotWritten, match=rf"{HISTORY} could not be written: Is a directory"):
        append_history(tmp_path, {"step": 1})
    (tmp_path / FOLDER).write_bytes(b"no directory")
    truth = np.ones((2, 3), np.float32)
    with pytest.raises(FileNotWritten, match=rf"{FOLDER}/4\.npz could not be written: "):
        write_specimen(tmp_path, 4, "u", truth, lambda count: truth[:count])


def test_drafts_of_specimens_that_a_kill_left_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / f".3.npz.{ended.pid}").write_bytes(b"half")
    truth = np.ones((2, 3), np.float32)
    written = write_specimen(tmp_path, 4, "u", truth, lambda count: truth[:count])
    assert list((tmp_path / FOLDER).iterdir()) == [written]
