"""What a Policy refuses, and its pauses."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.policy import Policy


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"priority": 1.5}, "priority=1.5"),
        ({"priority": True}, "priority=True"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": float("inf")}, "timeout_s=inf"),
        ({"timeout_s": "1"}, "timeout_s='1'"),
        ({"retries": -1}, "retries=-1"),
        ({"retries": 2.0}, "retries=2.0"),
        ({"pause_s": -1.0}, "pause_s=-1.0"),
        ({"pause_s": float("nan")}, "pause_s=nan"),
        ({"heartbeat_s": 0}, "heartbeat_s=0"),
        ({"heartbeat_s": True}, "heartbeat_s=True"),
        ({"heartbeat_stream": "a{b}"}, "heartbeat_stream='a{b}'"),
        ({"on_failure": "ignore"}, "on_failure='ignore'.*stop, continue"),
        ({"on_failure": "restart"}, "retries=N is how often.*stop, continue"),
    ],
)
def test_what_cannot_be_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Policy(**wrong)


def test_pauses_double_and_stay_finite() -> None:
    policy = Policy(pause_s=0.5)
    assert [policy.pause_after(attempts) for attempts in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert policy.pause_after(10_000) == 512.0
