"""Whose snapshot an entry of a stream is."""

from __future__ import annotations

import pytest

from orchestrator.heartbeat import _producer


@pytest.mark.parametrize(
    ("entry", "producer"),
    [
        (b"{heat_0.0.40}", "heat_0"),
        (b"{a.b.3.0}", "a.b"),
        (b"heat_0.{heat_0.1.40}", "heat_0"),
        (b"heat_0.0.40", "heat_0"),
        (b"{heat_0}", None),
        (b"\xff{", None),
        (b"", None),
    ],
)
def test_whose_a_snapshot_is(entry: bytes, producer: str | None) -> None:
    assert _producer(entry) == producer
