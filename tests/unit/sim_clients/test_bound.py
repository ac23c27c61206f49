"""Bounds of streams: what makes no sense is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from sim_clients import Bound, BoundError


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "a bound has items, bytes or both"),
        ({"items": 0}, "items is a whole number from 1 to 2.*, got 0"),
        ({"items": 2.5}, "items is a whole number"),
        ({"items": True}, "items is a whole number"),
        ({"items": 2**60 + 1}, "items is a whole number from 1 to 2.*, got 1152921504606846977"),
        ({"bytes": -1}, "bytes is a whole number from 1 to 2.*, got -1"),
        ({"items": 1, "policy": "blok"}, "'blok' is no policy; use one of block, drop_oldest"),
        ({"policy": "blok"}, "'blok' is no policy"),
        ({"items": 1, "policy": "thin"}, "keep_every belongs to the policy thin"),
        ({"items": 1, "policy": "thin", "keep_every": 1}, "keep_every is a whole number from 2 to"),
        ({"items": 1, "keep_every": 2}, "keep_every belongs to the policy thin"),
        ({"items": 1, "policy": "spill"}, "directory belongs to the policy spill"),
        ({"items": 1, "policy": "spill", "directory": "here"}, "absolute path, got 'here'"),
        ({"items": 1, "directory": "/tmp"}, "directory belongs to the policy spill"),
        ({"items": 1, "wait_s": 0.0}, "wait_s is greater than 0 and at most 1000000000, s, got 0.0"),
        ({"items": 1, "wait_s": float("inf")}, "wait_s is greater than 0 and at most .*, got inf"),
        (
            {"items": 1, "policy": "drop_newest", "wait_s": 1.0},
            "wait_s belongs to the policies",
        ),
    ],
)
def test_a_bound_that_makes_no_sense(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BoundError, match=says):
        Bound(**given)
