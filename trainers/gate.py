"""Whether a network may take the place of the live one, and whether it may keep it.

Before it is posted, a candidate is compared with the live version on held-out samples (`Gate`). Once it is
live the coupled solvers report how well it does (`Client.report_error`), and for a while it is on trial:
where it does worse than the version before, that one is live again (`Canary`). Both rules are the user's.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from sim_clients import Client, InferenceFailed, ModelMissing, ModelVersion
from sim_clients.fields import Array
from sim_clients.registry import REPORTS_KEPT, previous
from trainers.errors import TrainingRefused
from trainers.losses import check_shapes
from trainers.rules import asking

Metric = Callable[[Array, Array], float]
"""How far predictions are from targets, both `(samples, …)`: less is better."""
Rule = Callable[[float, float], bool]
"""Whether a candidate of the first error may replace one of the second."""
WorseRule = Callable[[Sequence[float], Sequence[float]], bool]
"""Whether what solvers have reported of a version is worse than what they had of the one before."""
Prune = Callable[[Sequence[ModelVersion]], Iterable[int]]
"""Which versions, of those that are stored, may be removed."""

MARGIN = 0.02


@dataclass(frozen=True)
class HeldOut:
    """Samples that nothing is learned from.

    Attributes:
        inputs: in the order of the network's arguments, each `(samples, …)`.
        target: `(samples, …)`.
    """

    inputs: tuple[Array, ...]
    target: Array


def relative_l2(prediction: Array, target: Array) -> float:
    """Return the mean over the samples of the L2 error relative to the target's norm.

    Where a target is 0 everywhere the root mean square of the norms stands for its own, and 1 where all are.
    """
    rows, target = len(target), target.astype(np.float64)
    error = np.linalg.norm((prediction - target).reshape(rows, -1), axis=1)
    norms = np.linalg.norm(target.reshape(rows, -1), axis=1)
    typical = math.sqrt(np.square(norms).mean()) or 1.0
    return float((error / np.where(norms > 0, norms, typical)).mean())


def better_by(margin: float = MARGIN) -> Rule:
    """Return the rule that a candidate's error must be less by a fraction of the live one's magnitude.

    Raises:
        TrainingRefused: the fraction is not from 0 to less than 1.
    """
    if not 0 <= margin < 1:
        raise TrainingRefused("margin", margin, "from 0 to less than 1")
    return lambda candidate, live: candidate < live * (1 - math.copysign(margin, live))


@dataclass(frozen=True)
class Verdict:
    """What a gate has found.

    Attributes:
        passed: the candidate may be posted.
        candidate: its error.
        live: that of the live version; None where there was none, infinite where it cannot answer.
        version: which one that was, 0 for none.
    """

    passed: bool
    candidate: float
    live: float | None = None
    version: int = 0


@dataclass(frozen=True)
class Gate:
    """Compares a candidate with the live version, which the database runs on the same samples.

    Attributes:
        metric: by which both are judged; the relative L2 error by default.
        rule: when the candidate is good enough; by default its error must be 2 % less.
    """

    metric: Metric = relative_l2
    rule: Rule = field(default_factory=better_by)

    def judge(
        self,
        client: Client,
        name: str,
        prediction: Array,
        held_out: HeldOut,
        bar: float = math.inf,
        *,
        outputs: int = 1,
    ) -> Verdict:
        """Judge a candidate.

        Args:
            client: asked for the live version and its answer.
            name: of the model.
            prediction: the candidate's, for the held-out samples; of several outputs the first.
            held_out: those samples.
            bar: an error that it must beat besides; that of a version that did not keep its place.
            outputs: how many the candidate has; a live version with another number cannot answer for it.

        Raises:
            DatabaseUnavailable
            RuleFailed: the metric or the rule has raised.
            TrainingRefused: the prediction has another shape than the target.
        """
        check_shapes(prediction.shape, held_out.target.shape)
        candidate = self._error(prediction, held_out.target)
        live, version = self._live(client, name, held_out, outputs)
        bars = [one for one in (live, bar) if one is not None and one < math.inf]
        beaten = all(self.beats(candidate, one) for one in bars)
        return Verdict(math.isfinite(candidate) and beaten, candidate, live, version)

    def beats(self, candidate: float, live: float) -> bool:
        """Tell what the rule says of two errors; raises RuleFailed."""
        with asking("the gate's rule"):
            return bool(self.rule(candidate, live))

    def _error(self, prediction: Array, target: Array) -> float:
        with asking("the gate's metric"):
            return float(self.metric(prediction, target))

    def _live(self, client: Client, name: str, held_out: HeldOut, outputs: int) -> tuple[float | None, int]:
        try:
            (answer, *_), version = client.infer_outputs_versioned(name, *held_out.inputs, count=outputs)
        except ModelMissing:
            return None, 0
        except InferenceFailed:  # it was trained on other fields, or shapes: it is of no use for these
            return math.inf, client.model_version(name)
        error = self._error(answer, held_out.target) if answer.shape == held_out.target.shape else math.inf
        return (error if math.isfinite(error) else math.inf), version


def worse_by(margin: float = 0.1) -> WorseRule:
    """Return the rule that the reported errors' median is greater by a fraction of its magnitude before.

    Raises:
        TrainingRefused: the fraction is less than 0.
    """
    if not margin >= 0:
        raise TrainingRefused("margin", margin, "0 or more")

    def is_worse(now: Sequence[float], before: Sequence[float]) -> bool:
        bar = statistics.median(before)
        return statistics.median(now) > bar * (1 + math.copysign(margin, bar))

    return is_worse


class Finding(Enum):
    """How a trial stands."""

    OPEN = "open"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True)
class Canary:
    """The trial of a version in the solvers that call it.

    A version fails at the first report that is NaN or infinite, and at the end of its trial where `is_worse`
    says so. Where the version before has no reports there is nothing to compare with. Meanwhile no other
    version is posted.

    Attributes:
        reports: the trial ends with so many reports of the version; as many of the one before, the newest,
            are compared with.
        seconds: it ends so long after the version was posted, s, also with fewer reports.
        is_worse: compares the errors that were reported of the version and of the one before; neither is
            empty, and those of the one before are finite.
    """

    reports: int = 20
    seconds: float = 60.0
    is_worse: WorseRule = field(default_factory=worse_by)

    def __post_init__(self) -> None:
        for name in ("reports", "seconds"):
            if not getattr(self, name) > 0:
                raise TrainingRefused(f"canary's {name}", getattr(self, name), "greater than 0")
        if self.reports > REPORTS_KEPT:
            expected = f"at most {REPORTS_KEPT}, which is how many the database keeps of a version"
            raise TrainingRefused("canary's reports", self.reports, expected)

    def look(self, now: Sequence[float], before: Sequence[float], elapsed_s: float) -> Finding:
        """Tell how a trial stands.

        Args:
            now: errors reported of the version, oldest first.
            before: errors reported of the version before, oldest first.
            elapsed_s: since the version was posted, s.

        Raises:
            RuleFailed: `is_worse` has raised.
        """
        if not all(math.isfinite(error) for error in now):
            return Finding.FAILED
        if len(now) < self.reports and elapsed_s < self.seconds:
            return Finding.OPEN
        compared = [error for error in before if math.isfinite(error)][-self.reports :]
        with asking("the canary's is_worse"):
            worse = bool(now and compared and self.is_worse(now, compared))
        return Finding.FAILED if worse else Finding.PASSED


def keep_last_and_best(last: int) -> Prune:
    """Return the rule that keeps the newest versions and the one of the least loss.

    Raises:
        TrainingRefused: fewer than one are to be kept.
    """
    if not last >= 1:
        raise TrainingRefused("keep", last, "1 or more, or None")

    def removable(stored: Sequence[ModelVersion]) -> Iterable[int]:
        judged = [each for each in stored if each.about.loss is not None]
        best = min(judged, key=lambda each: each.about.loss or 0.0, default=None)
        return [each.version for each in stored[:-last] if each is not best]

    return removable


def prune(client: Client, name: str, rule: Prune) -> list[int]:
    """Remove versions by a rule, never the live one, one to go back to, or one that is newer than these.

    One may be gone back to from the live version, or from a trial of it that another trainer has begun.

    Returns:
        Those that were removed.

    Raises:
        RuleFailed: the rule has raised.
    """
    versions = client.model_versions(name)
    live = next((each.version for each in versions if each.live), 0)
    stored = [each for each in versions if each.state == "stored"]
    needed = {live, previous(versions), *(each.version for each in versions if each.fallback)}
    with asking("prune"):
        removed = [version for version in rule(stored) if version not in needed and version < live]
    for version in removed:
        client.remove_model_version(name, version)
    return removed
