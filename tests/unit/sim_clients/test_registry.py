"""What is known of versions: what is taken, and what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sim_clients import MemoryClient, MemoryDatabase, ModelAbout, ModelRejected
from sim_clients.models import checked_error, checked_version
from sim_clients.registry import checked_model_about, previous, versions_from


@pytest.mark.parametrize(
    ("known", "named"),
    [
        ({"loss": "x"}, "loss is a number, got 'x'"),
        ({"loss": float("nan")}, "loss is nan"),
        ({"loss": 10**400}, "loss is 1000"),
        ({"samples": float("nan")}, "samples is a whole number, got nan"),
        ({"steps": 1.5}, "steps is a whole number, got 1.5"),
        ({"steps": True}, "steps is a whole number, got True"),
        ({"metrics": None}, "metrics are numbers by their names, got None"),
        ({"metrics": {"a": "x"}}, "a is a number, got 'x'"),
        ({"metrics": {3: 1.0}}, "metrics are numbers by their names"),
        ({"metrics": {"a": np.float32("inf")}}, "a is inf"),
        ({"git_commit": b"x"}, "git_commit is a text, got b'x'"),
        ({"unix_time": 1e30}, "unix_time is 1e[+]30"),
    ],
)
def test_what_json_has_not_or_is_of_another_type_is_named(known: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelRejected, match=f"'m'.*its {named}"):
        checked_model_about("m", ModelAbout(**known))


def test_scalars_of_numpy_are_numbers() -> None:
    about = ModelAbout(loss=np.float32(0.5), samples=np.int64(3), metrics={"a": np.float32(2)})  # type: ignore[arg-type]
    assert json.loads(checked_model_about("m", about)) == {"loss": 0.5, "samples": 3, "metrics": {"a": 2.0}}
    client = MemoryClient(MemoryDatabase(load=lambda model: lambda *inputs: inputs[0]))
    client.put_model("m", b"any", 1, about=about)
    (found,) = client.model_versions("m")
    assert (found.state, found.about.loss, found.about.samples) == ("stored", 0.5, 3)


@pytest.mark.parametrize("version", [0, -1, 10**18, 2**63, 10**30, 1.5, True, "1"])
def test_what_is_no_version_is_refused(version: Any) -> None:
    with pytest.raises(ModelRejected, match="whole number, 1 or greater and of up to 18 digits, got"):
        checked_version("m", version)
    assert checked_version("m", 10**18 - 1) == 10**18 - 1


def test_an_error_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ModelRejected, match="fits into 64 bits"):
        checked_error("m", 10**400)


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        '"a"',
        "null",
        "3",
        "{x}",
        '{"loss": "x"}',
        '{"metrics": 3}',
        '{"unix_time": 1e30}',
        '{"loss": NaN}',
        "",
    ],
)
def test_one_damaged_entry_is_named_and_hides_no_other(text: str) -> None:
    entries = {"1": text, "2": '{"loss": 0.5}', "3": "removed " + text, "²": "{}"}
    first, second, third = versions_from(entries, {1}, 2)
    assert (first.version, first.state, first.about) == (1, "damaged", ModelAbout())
    assert (second.state, second.about.loss, second.live) == ("stored", 0.5, True)
    assert (third.state, third.about) == ("removed", ModelAbout())
    assert previous([first, second, third]) == 1
