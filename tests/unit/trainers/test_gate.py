"""The gate before a network is posted, its trial once it is, and which old versions go."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from sim_clients import MemoryClient, MemoryDatabase, ModelAbout
from sim_clients.fields import Array
from trainers import TrainingRefused
from trainers.gate import (
    Canary,
    Finding,
    Gate,
    HeldOut,
    better_by,
    keep_last_and_best,
    prune,
    relative_l2,
    worse_by,
)

X = np.array([[1.0], [2.0], [4.0]])


def load_factor(model: bytes) -> Callable[..., Array]:
    """Return the network that multiplies by what its archive says; `wide` needs two columns."""
    if model == b"wide":
        return lambda x: x @ np.ones((2, 1))
    return lambda x: float(model) * x


@pytest.fixture
def client() -> MemoryClient:
    return MemoryClient(MemoryDatabase(load=load_factor))


HELD_OUT = HeldOut((X,), X)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: better_by(1.0), "margin"),
        (lambda: better_by(-0.1), "margin"),
        (lambda: worse_by(-0.1), "margin"),
        (lambda: Canary(reports=0), "canary's reports"),
        (lambda: Canary(reports=1001), "canary's reports is 1001, and must be at most 1000"),
        (lambda: Canary(seconds=0), "canary's seconds"),
        (lambda: keep_last_and_best(0), "keep"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(make: Callable[[], object], named: str) -> None:
    with pytest.raises(TrainingRefused, match=named):
        make()


def test_a_prediction_of_another_shape_than_the_target_is_refused() -> None:
    with pytest.raises(TrainingRefused, match=r"\(3, 1\).*\(3, 2\)"):
        Gate().judge(MemoryClient(MemoryDatabase()), "m", X, HeldOut((X,), np.ones((3, 2))))


def test_the_relative_error_is_the_mean_over_the_samples() -> None:
    target = np.array([[3.0, 4.0], [0.0, 10.0]])
    assert relative_l2(target + np.array([[0.5, 0.0], [0.0, 3.0]]), target) == pytest.approx((0.1 + 0.3) / 2)


def test_a_target_that_is_0_everywhere_is_judged_by_the_norm_of_the_others() -> None:
    target = np.array([[3.0, 4.0], [0.0, 0.0]])
    off = target + np.array([[0.5, 0.0], [0.0, 1.0]])
    typical = math.sqrt(25 / 2)
    assert relative_l2(off, target) == pytest.approx((0.1 + 1 / typical) / 2)
    assert relative_l2(off - target, np.zeros((2, 2))) == pytest.approx((0.5 + 1.0) / 2)


def test_the_first_network_passes_unless_it_answers_nothing(client: MemoryClient) -> None:
    verdict = Gate().judge(client, "m", 5 * X, HELD_OUT)
    assert (verdict.passed, verdict.candidate, verdict.live, verdict.version) == (True, 4.0, None, 0)
    assert not Gate().judge(client, "m", np.full_like(X, np.nan), HELD_OUT).passed


@pytest.mark.parametrize(("factor", "passes"), [(1.15, True), (1.197, False), (1.2, False), (1.3, False)])
def test_a_candidate_must_beat_the_live_version_by_the_margin(
    client: MemoryClient, factor: float, passes: bool
) -> None:
    client.put_model("m", b"1.2", 1)
    verdict = Gate().judge(client, "m", factor * X, HELD_OUT)
    assert verdict.passed is passes
    assert (verdict.live, verdict.version) == (pytest.approx(0.2), 1)


def test_the_version_that_is_live_now_is_judged_not_the_last_one_posted(client: MemoryClient) -> None:
    client.put_model("m", b"3", 1)
    client.put_model("m", b"1.1", 2)
    client.promote("m", 1)
    assert Gate().judge(client, "m", 1.5 * X, HELD_OUT).passed


def test_what_was_gone_back_from_must_be_beaten_too(client: MemoryClient) -> None:
    client.put_model("m", b"3", 1)
    assert not Gate().judge(client, "m", 1.5 * X, HELD_OUT, bar=0.5).passed
    assert Gate().judge(client, "m", 1.5 * X, HELD_OUT, bar=0.6).passed


def test_a_live_version_that_cannot_answer_the_samples_is_beaten(client: MemoryClient) -> None:
    client.put_model("m", b"wide", 1)
    verdict = Gate().judge(client, "m", 5 * X, HELD_OUT)
    assert (verdict.passed, verdict.live, verdict.version) == (True, math.inf, 1)


def test_metric_and_rule_are_the_users(client: MemoryClient) -> None:
    client.put_model("m", b"2", 1)
    gate = Gate(
        metric=lambda found, target: float(np.abs(found - target).max()), rule=lambda new, old: new > old
    )
    verdict = gate.judge(client, "m", 3 * X, HELD_OUT)
    assert (verdict.passed, verdict.candidate, verdict.live) == (True, 8.0, 4.0)


@pytest.mark.parametrize(
    ("candidate", "live", "passes"),
    [
        (-1.05, -1.0, True),
        (-1.01, -1.0, False),
        (-0.99, -1.0, False),
        (-0.01, 0.0, True),
        (0.0, 0.0, False),
        (5.0, math.inf, True),
    ],
)
def test_measures_below_0_are_judged_by_their_magnitude(candidate: float, live: float, passes: bool) -> None:
    assert better_by(0.02)(candidate, live) is passes


@pytest.mark.parametrize(("now", "worse"), [(-1.05, False), (-0.95, False), (-0.85, True), (0.5, True)])
def test_reports_below_0_are_worse_where_they_are_greater(now: float, worse: bool) -> None:
    assert worse_by(0.1)([now] * 3, [-1.0] * 3) is worse


FAR = 1000.0


@pytest.mark.parametrize(
    ("now", "before", "elapsed_s", "finding"),
    [
        ([], [1.0], 0, Finding.OPEN),
        ([9.0, 9.0], [1.0] * 5, 0, Finding.OPEN),
        ([9.0] * 3, [1.0] * 5, 0, Finding.FAILED),
        ([1.05] * 3, [1.0] * 5, 0, Finding.PASSED),
        ([1.0, 9.0, 1.0], [1.0] * 5, 0, Finding.PASSED),
        ([1.0, math.nan], [1.0] * 5, 0, Finding.FAILED),
        ([math.inf], [], 0, Finding.FAILED),
        ([9.0] * 3, [], 0, Finding.PASSED),
        ([9.0], [1.0], FAR, Finding.FAILED),
        ([], [1.0], FAR, Finding.PASSED),
        ([2.0] * 3, [1.0] * 5 + [3.0] * 3, 0, Finding.PASSED),
        ([2.0] * 3, [3.0] * 5 + [math.nan, 1.0, 1.0, 1.0], 0, Finding.FAILED),
        ([2.0] * 3, [math.nan], 0, Finding.PASSED),
    ],
)
def test_a_trial(now: Sequence[float], before: Sequence[float], elapsed_s: float, finding: Finding) -> None:
    assert Canary(reports=3, seconds=60).look(now, before, elapsed_s) is finding


def test_the_rule_of_a_trial_is_the_users() -> None:
    seen: list[Any] = []
    canary = Canary(reports=2, is_worse=lambda now, before: seen.append((list(now), list(before))) or True)
    assert canary.look([1.0, 2.0], [5.0, 6.0, 7.0], 0) is Finding.FAILED
    assert seen == [([1.0, 2.0], [6.0, 7.0])]


def post(client: MemoryClient, *losses: float | None) -> None:
    for version, loss in enumerate(losses, 1):
        client.put_model("m", b"1", version, about=ModelAbout(loss=loss))


def stored(client: MemoryClient) -> list[int]:
    return [each.version for each in client.model_versions("m") if each.state == "stored"]


def test_the_newest_and_the_best_are_kept(client: MemoryClient) -> None:
    post(client, 0.5, 0.1, None, 0.4, 0.3, 0.2)
    assert prune(client, "m", keep_last_and_best(2)) == [1, 3, 4]
    assert stored(client) == [2, 5, 6]
    assert prune(client, "m", keep_last_and_best(2)) == []


def test_neither_the_live_one_nor_the_one_to_go_back_to_is_ever_removed(client: MemoryClient) -> None:
    post(client, 0.5, 0.4, 0.3, 0.2)
    client.promote("m", 2)
    assert prune(client, "m", lambda versions: [each.version for each in versions]) == []
    assert stored(client) == [1, 2, 3, 4]
    client.put_model("m", b"1", 5)
    assert prune(client, "m", lambda versions: [each.version for each in versions]) == [1, 3, 4]
    assert stored(client) == [2, 5]


def test_without_a_live_version_nothing_is_removed(client: MemoryClient) -> None:
    client.put_model("m", b"1", 1, promote=False)
    assert prune(client, "m", lambda versions: [each.version for each in versions]) == []
