"""The command line of a training."""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields

import pytest
import torch

from trainers import Format, TrainingRefused
from trainers.command import main, network_named, parser
from trainers.distributed import joined
from trainers.train import Training

NEEDED = [
    *("--network", "tests.integration.trainers.line_network:line", "--model", "line", "--held_out", "b"),
    *("--producers", "a", "c", "--inputs", "x", "--target", "y", "--jump", "0", "--steps", "1"),
    *("--seconds", "1"),
]


def test_each_setting_of_a_training_is_an_option_with_its_default_and_words() -> None:
    text = parser().format_help()
    given = vars(parser().parse_args(NEEDED))
    for one in fields(Training):
        if one.name in ("until", "terms"):
            continue
        assert f"--{one.name}" in text
        if one.default is not MISSING:
            assert given[one.name] == one.default
    assert "whose snapshots only judge it" in text
    assert given["producers"] == ["a", "c"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nosuch:thing", "No module named 'nosuch'"),
        ("json:nosuch", "no attribute 'nosuch'"),
        ("json", "no attribute ''"),
        ("", "Empty module name"),
        ("torch.nn:Linear", "missing 2 required positional arguments"),
        ("collections:OrderedDict", "a factory of a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused_by_its_name(name: str, why: str) -> None:
    with pytest.raises(TrainingRefused, match="network is") as caught:
        network_named(name)
    assert why in str(caught.value)


def test_a_class_without_arguments_is_a_factory() -> None:
    assert isinstance(network_named("torch.nn:Identity"), torch.nn.Identity)


def test_what_is_python_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--until", "--terms"):
        with pytest.raises(SystemExit):
            main([*NEEDED, option, "x"])
        assert f"unrecognized arguments: {option} x" in capsys.readouterr().err


def test_the_format_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert vars(parser().parse_args([*NEEDED, "--format", "onnx"]))["format"] is Format.ONNX
    with pytest.raises(SystemExit):
        main([*NEEDED, "--format", "pickle"])
    assert "invalid Format value: 'pickle'" in capsys.readouterr().err
    assert "{torchscript,aotinductor,onnx}" in parser().format_help()


def test_bad_settings_end_in_a_sentence() -> None:
    with pytest.raises(SystemExit, match=r"trainers.train: the training's steps is 0"):
        main([*NEEDED, "--steps", "0"])
    with pytest.raises(SystemExit, match=r"trainers.train: the buffer's name is 'heap'"):
        main([*NEEDED, "--buffer", "heap"])


def test_ranks_that_are_named_and_cannot_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainingRefused, match=r"WORLD_SIZE is '2'.*torchrun"), joined(1.0):
        sys.exit("joined nobody")
