"""The configuration of an experiment and what overrides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import load_config
from orchestrator.errors import ConfigError

TEXT = """
members = 4
rate = 0.5
name = "heat"
fast = false
steps = [1, 2]
[network]
width = 32
[quick]
members = 2
[quick.network]
width = 8
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "config.toml").write_text(TEXT)
    return tmp_path


def test_quick_values_only_when_quick(experiment: Path) -> None:
    assert load_config(experiment)["members"] == 4
    quick = load_config(experiment, quick=True)
    assert (quick["members"], quick["network"]["width"], quick["rate"]) == (2, 8, 0.5)
    assert "quick" not in quick


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("members=7", "members", 7),
        ("rate=1", "rate", 1.0),
        ("rate=1e-3", "rate", 1e-3),
        ("name=plate", "name", "plate"),
        ('name="a = b"', "name", "a = b"),
        ("fast=true", "fast", True),
        ("steps=[3]", "steps", [3]),
    ],
)
def test_overrides_come_last_in_the_type_of_the_default(
    experiment: Path, override: str, key: str, value: Any
) -> None:
    changed = load_config(experiment, quick=True, overrides=[override])[key]
    assert changed == value and type(changed) is type(value)


def test_dotted_override(experiment: Path) -> None:
    assert load_config(experiment, overrides=["network.width=3"])["network"] == {"width": 3}


@pytest.mark.parametrize(
    "wrong", ["members=many", "members=1.5", "fast=1", "name=3", "steps=3", "rate=true", "steps=['a']"]
)
def test_another_type_is_refused_by_name(experiment: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=wrong.partition("=")[0]) as caught:
        load_config(experiment, overrides=[wrong])
    assert caught.value.key == wrong.partition("=")[0]


def test_unknown_key_suggests_the_nearest(experiment: Path) -> None:
    with pytest.raises(ConfigError, match=r"'membres'.*did you mean 'members'"):
        load_config(experiment, overrides=["membres=3"])


@pytest.mark.parametrize(("wrong", "near"), [("network.widht", "network.width"), ("width", "network.width")])
def test_a_key_of_a_table_suggests_the_nearest(experiment: Path, wrong: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
        load_config(experiment, overrides=[f"{wrong}=3"])


@pytest.mark.parametrize("wrong", ["network.foo", "foo"])
def test_a_key_that_is_near_to_none_suggests_none(experiment: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"; it has: members, rate, .*, network.width"):
        load_config(experiment, overrides=[f"{wrong}=3"])


@pytest.mark.parametrize("wrong", ["members", "=3", "", "network=3", "network.depth=3", "a=1\nmembers=2"])
def test_overrides_that_are_none(experiment: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError):
        load_config(experiment, overrides=[wrong])


def test_unknown_quick_key_is_seen_in_a_full_run(experiment: Path) -> None:
    (experiment / "config.toml").write_text("a = 1\n[quick]\nb = 2\n")
    with pytest.raises(ConfigError, match="no 'b'"):
        load_config(experiment)


def test_file_that_is_no_toml_is_named(experiment: Path) -> None:
    (experiment / "config.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read"):
        load_config(experiment)


def test_no_file_is_an_empty_configuration(tmp_path: Path) -> None:
    assert load_config(tmp_path) == {}
    with pytest.raises(ConfigError, match="no 'a'"):
        load_config(tmp_path, overrides=["a=1"])


@given(st.integers(-(2**62), 2**62))
def test_whole_numbers_come_through(tmp_path_factory: pytest.TempPathFactory, number: Any) -> None:
    directory = tmp_path_factory.mktemp("config")
    (directory / "config.toml").write_text("n = 0\n")
    assert load_config(directory, overrides=[f"n={number}"]) == {"n": number}
