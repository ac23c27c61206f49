"""Specimens on the page: what is drawn, what is said of it, and which files are left out."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from orchestrator.record import run_at
from orchestrator.report import write_report
from orchestrator.report.reading import read_training
from tests.unit.orchestrator.report.runs import Page, job, judgement, write_history, write_run, write_specimen

TRUTH = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    """The directory of the trainer of a run."""
    write_run(tmp_path / "run", [job("trainer")])
    write_history(tmp_path / "run" / "trainer", [judgement(10, 0.1, 1)])
    return tmp_path / "run" / "trainer"


def shown(trainer: Path) -> Page:
    return Page(write_report(run_at(trainer.parent)).read_text())


def test_truth_and_prediction_are_drawn_on_one_scale_with_units(trainer: Path) -> None:
    truth, prediction = TRUTH.copy(), TRUTH.copy()
    truth[0, 0, 0], prediction[0, 1, 1] = -9, 8
    write_specimen(trainer, 2, truth, prediction)
    text = (write_report(run_at(trainer.parent))).read_text()
    assert 'alt="truth, -9 to 8 K"' in text
    assert 'alt="prediction, -9 to 8 K"' in text
    worst = float(np.abs(prediction[0] - truth[0]).max())
    assert f'alt="prediction − truth, {-worst:.4g} to {worst:.4g} K"' in text
    assert "T (6 × 5, K) of samples that the network never learned from, by version 2" in text


def test_the_error_of_each_sample_is_told(trainer: Path) -> None:
    write_specimen(trainer, 1, TRUTH, 1.25 * TRUTH)
    page = shown(trainer)
    assert page.text.count("relative L2 error 25 %") == 2
    assert page.tags.count("img") == 2 * 3 * 2  # two samples, three fields, each with its colours


def test_versions_follow_one_another_by_number(trainer: Path) -> None:
    for version in (10, 9, 1):
        write_specimen(trainer, version, TRUTH, TRUTH * (1 + 1 / version))
    page = shown(trainer)
    assert "by version 10" in page.text
    assert [word for word in page.words if word.startswith("version ") and "off" in word] == [
        "version 1: 100 % off",
        "version 9: 11.11 % off",
        "version 10: 10 % off",
    ]


def test_lines_are_drawn_as_lines(trainer: Path) -> None:
    truth = np.array([[1.0, 2.0, 4.0, 8.0]])
    write_specimen(trainer, 1, truth, truth + 1, stride=3, shape=np.array([10]))
    charts = shown(trainer).charts
    assert charts["truth and prediction"]["truth"] == [[0, 1], [3, 2], [6, 4], [9, 8]]
    assert charts["error"]["prediction − truth"] == [[0, 1], [3, 1], [6, 1], [9, 1]]


def test_single_numbers_are_drawn_as_dots(trainer: Path) -> None:
    write_specimen(trainer, 1, np.array([[1.0]]), np.array([[1.5]]))
    assert shown(trainer).charts["truth and prediction"] == {"truth": [[0, 1]], "prediction": [[0, 1.5]]}


def test_a_network_that_has_blown_up_is_shown(trainer: Path) -> None:
    prediction = TRUTH.copy()
    prediction[0, 0, :3] = [np.nan, np.inf, 1e38]
    write_specimen(trainer, 1, TRUTH, prediction)
    page = shown(trainer)
    assert "prediction, 3 points not finite, or above 1e+30 (grey)" in page.words
    assert "relative L2 error nan %" in page.text


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_none_is_named_and_left_out(trainer: Path, content: bytes) -> None:
    write_specimen(trainer, 1, TRUTH, TRUTH)
    (trainer / "specimens" / "2.npz").write_bytes(content)
    page = shown(trainer)
    assert "trainer/specimens/2.npz cannot be used and is left out: it is no whole .npz file" in page.text
    assert "by version 1" in page.text


def test_a_pipe_is_no_specimen(trainer: Path) -> None:
    write_specimen(trainer, 1, TRUTH, TRUTH)
    os.mkfifo(trainer / "specimens" / "2.npz")
    page = shown(trainer)
    assert "trainer/specimens/2.npz cannot be used and is left out: it is no regular file" in page.text


def test_arrays_that_do_not_fit_are_named_and_left_out(trainer: Path) -> None:
    write_specimen(trainer, 1, TRUTH, TRUTH[:, :2])
    write_specimen(trainer, 2, np.array([["a"]]), np.array([["b"]]))
    write_specimen(trainer, 3, np.zeros((0, 3)), np.zeros((0, 3)))
    (trainer / "specimens" / "last.npz").write_bytes((trainer / "specimens" / "1.npz").read_bytes())
    with zipfile.ZipFile(trainer / "specimens" / "4.npz", "w") as file:
        file.writestr("truth.npy", "nothing")
    page = shown(trainer)
    for name in ("1", "2", "3", "4", "last"):
        assert f"trainer/specimens/{name}.npz cannot be used and is left out" in page.text
    assert "the truth is (2, 6, 5), the prediction (2, 2, 5)" in page.text


def test_a_damaged_file_is_shown_or_named_and_never_an_error(trainer: Path) -> None:
    generator = np.random.default_rng(0)
    path = write_specimen(trainer, 1, TRUTH, TRUTH)
    whole = path.read_bytes()
    named = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in generator.integers(len(whole), size=4):
            damaged[at] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        training = read_training("trainer", trainer)
        assert len(training.specimens) + len(training.damage) == 1
        named += len(training.damage)
    assert named > 150


def test_a_file_with_python_in_it_is_never_run(trainer: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (trainer / "owned",))

    write_specimen(trainer, 1, np.array([[Evil()]], dtype=object), TRUTH)
    assert "trainer/specimens/1.npz cannot be used" in shown(trainer).text
    assert not (trainer / "owned").exists()


def test_a_draft_that_is_being_written_is_no_damage(trainer: Path) -> None:
    write_specimen(trainer, 1, TRUTH, TRUTH)
    (trainer / "specimens" / ".2.npz.17").write_bytes(b"half")
    assert "could not be read" not in shown(trainer).text
