"""Rules that end a training."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trainers import TrainingRefused
from trainers.until import Budget, Plateau, Reached, Target, first_reason


def reached(*validations: float, step: int = 100, seconds: float = 5.0, samples: int = 1600) -> Reached:
    return Reached(step, seconds, samples, validations)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Target(0.0), "target loss"),
        (lambda: Target(float("nan")), "target loss"),
        (lambda: Plateau(0), "plateau's validations"),
        (lambda: Plateau(3, improvement=1.0), "plateau's improvement"),
        (lambda: Budget(), "budget"),
        (lambda: Budget(steps=0), "budget's steps"),
        (lambda: Budget(steps=5, samples=-1), "budget's samples"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(make: Callable[[], object], named: str) -> None:
    with pytest.raises(TrainingRefused, match=named):
        make()


def test_a_target_is_reached() -> None:
    assert Target(0.1)(reached(0.05, 0.11)) is None
    assert Target(0.1)(reached(0.5, 0.1)) == "the validation is 0.1, 0.1 was asked for"
    assert Target(0.1)(reached(float("nan"))) is None


def test_a_plateau_is_so_many_validations_without_an_improvement() -> None:
    plateau = Plateau(2, improvement=0.1)
    assert plateau(reached(1.0)) is None
    assert plateau(reached(1.0, 0.95)) is None
    assert plateau(reached(1.0, 0.95, 0.8)) is None
    assert plateau(reached(1.0, 0.95, 0.8, 0.79, 0.75)) == "2 validations brought nothing better than 0.8"
    assert plateau(reached(1.0, 0.95, 0.91)) == "2 validations brought nothing better than 1"
    assert Plateau(2, improvement=0.1, least_step=101)(reached(1.0, 1.0, 1.0)) is None


def test_a_plateau_of_validations_that_are_none_is_one() -> None:
    assert Plateau(2)(reached(float("nan"), float("nan"))) is not None
    assert Plateau(2)(reached(float("nan"), float("nan"), 1.0)) is None


def test_a_budget_is_used_up() -> None:
    assert Budget(steps=101, seconds=6, samples=1601)(reached(1.0)) is None
    assert Budget(steps=100)(reached(1.0)) == "the budget of 100 steps is used up"
    assert Budget(seconds=4.5, samples=10)(reached(1.0)) == "the budget of 4.5 seconds is used up"
    assert Budget(samples=1600)(reached(1.0)) == "the budget of 1600 samples is used up"


def test_the_first_rule_that_says_so_is_told() -> None:
    rules = (Target(0.1), Budget(steps=100), lambda now: "I have seen enough")
    assert first_reason(rules, reached(1.0)) == "the budget of 100 steps is used up"
    assert first_reason(rules[:1], reached(1.0)) is None
    assert first_reason(rules[2:], reached(1.0)) == "I have seen enough"
    assert first_reason((), reached(0.0)) is None
