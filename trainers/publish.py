"""From the trainer to the solver: a network is exported, posted when it is better, and watched while new."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sim_clients import Client, DatabaseFull, DatabaseUnavailable, ModelAbout, ModelMissing, ModelRejected
from sim_clients.commit import commit_of
from sim_clients.registry import newest, previous
from trainers.answering import predicted
from trainers.exporting import export
from trainers.formats import Format
from trainers.gate import Canary, Finding, Gate, HeldOut, Prune, Verdict, prune

_OWN = ("version", "best_loss", "bar", "posted", "put_off")
LOOK_EVERY_S = 0.5
"""How often at most the database is asked what solvers have reported, s."""
GRACE_S = 60.0
"""How long the version before is kept after a trial's time, for a trainer that looks late, s."""


@dataclass(frozen=True)
class Terms:
    """On which terms a network is posted, and keeps its place.

    Attributes:
        gate: compares it with the live version; None: with the last loss that was posted.
        canary: its trial in the solvers; None: none.
        prune: which old versions are removed after a new one is posted; None: none.
        improvement: by which fraction a network must be better than the last one posted, without a gate.
    """

    gate: Gate | None = None
    canary: Canary | None = None
    prune: Prune | None = None
    improvement: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A version that has to prove itself.

    Attributes:
        version: the new one.
        before: the one to go back to.
        since: when it was posted, unix time, s.
    """

    version: int
    before: int
    since: float


class Publisher:
    """Posts networks that are better, and goes back where one turns out to be worse.

    Attributes:
        version: the last one that was posted.
        best_loss: its validation loss.
        bar: an error that the next one must beat besides: that of a version which did not pass its trial.
        posted: the error of the last one, as its gate had it.
        verdict: what the gate found of the last network; None where it was not asked.
        trial: the version that is on trial.
        rolled_back: the versions that did not pass their trial.
        put_off: the last network was not looked at, because of a trial.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        device: str = "CPU",
        improvement: float = 0.0,
        terms: Terms | None = None,
        format: Format = Format.TORCHSCRIPT,
    ) -> None:
        """Post under a name.

        Args:
            format: what the networks are exported as.
            improvement: by which fraction of the last posted loss a network must be better.
            terms: others than that.
        """
        self._client = client
        self._name = name
        self._device = device
        self._terms = Terms(improvement=improvement) if terms is None else terms
        self._commit = commit_of(Path(sys.argv[0]).absolute().parent)
        self._looked_at = -math.inf
        self._clock: tuple[int, float] | None = None  # of a version on trial: since when, monotonic
        self._format = format
        self.version = 0
        self.best_loss = float("inf")
        self.bar = float("inf")
        self.posted = float("inf")
        self.verdict: Verdict | None = None
        self.trial: Trial | None = None
        self.rolled_back: list[int] = []
        self.put_off = False
        self._events: list[dict[str, Any]] = []

    def offer(
        self,
        network: torch.nn.Module,
        example: Sequence[torch.Tensor],
        loss: float,
        *,
        held_out: HeldOut | None = None,
        about: ModelAbout | None = None,
    ) -> int | None:
        """Post a network if it is better; not while another version is on trial.

        Args:
            network: takes inputs as the solvers have them.
            example: one batch of inputs, in the order of forward's arguments.
            loss: of the validation.
            held_out: samples by which the gate judges it; without them it is judged by the loss.
            about: what else is known of it.

        Returns:
            The version it was posted as, None where it was not.

        Raises:
            ExportMismatch, ModelRejected, DatabaseUnavailable: what was live stays so.
            RuleFailed: a rule of the user's has raised; it may have been posted, where that is `prune`.
        """
        self.watch()
        self.put_off = self.trial is not None
        if self.put_off:
            return None
        step = None if about is None else about.steps
        if not self._may_pass(network, loss, held_out):
            self._tell_gate(step, None)
            return None
        version = self._post(export(network, example, format=self._format), loss, about)
        self._tell_gate(step, version)
        self.version, self.best_loss, self.bar = version, loss, float("inf")
        self.posted = loss if self.verdict is None else self.verdict.candidate
        before = previous(self._client.model_versions(self._name))
        if self._terms.canary is not None and before is not None:
            self._begin(Trial(version, before, time.time()))
        if self._terms.prune is not None:
            prune(self._client, self._name, self._terms.prune)
        return version

    @property
    def looks_now(self) -> bool:
        """Whether a version is on trial and it is time to look at it."""
        return self.trial is not None and time.monotonic() - self._looked_at >= LOOK_EVERY_S

    def watch(self, *, at_once: bool = False) -> int | None:
        """Look what solvers have reported of a version on trial, at most every half second.

        Args:
            at_once: whenever it was looked at last.

        Returns:
            The version that was gone back from, None where there was none.

        Raises:
            ModelRejected, DatabaseUnavailable: one could not go back.
        """
        if self.trial is None or not (at_once or self.looks_now):
            return None
        self._looked_at = time.monotonic()
        live = self._live_version()
        if live != self.trial.version:  # somebody else has decided, or we ourselves after the last checkpoint
            self.bar = self.posted if live == self.trial.before else self.bar
            self._end()
            return None
        finding = self._finding(self.trial)
        if finding is Finding.OPEN:
            return None
        trial, reason = self.trial, "its trial in the solvers"
        before = self._gone_back(trial) if finding is Finding.FAILED else None
        self._end()
        if finding is Finding.PASSED:
            return None
        if before is None:
            reason = f"{reason} failed, and all versions before it were removed: it stays live"
            told = {"event": "trial", "version": trial.version, "reason": reason}
            self._events.append(told | {"unix_time": time.time()})
            return None
        self.bar = self.posted
        self.rolled_back.append(trial.version)
        told = {"event": "rollback", "version": before, "from": trial.version, "reason": reason}
        self._events.append(told | {"unix_time": time.time()})
        return trial.version

    def end_swap(self) -> None:
        """Have every shard answer by the live version; one that cannot be had to is warned of."""
        try:
            self._client.end_swap(self._name)
        except (ModelMissing, ModelRejected, DatabaseFull) as error:
            text = f"the shards answer by different versions until the next is promoted: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def find_trial(self) -> None:
        """Take up the trial of a version that was posted after the checkpoint gone on from.

        It is live, and newer than the last one in the checkpoint; what is known of it is in the registry.
        """
        if self._terms.canary is None or self._live_version() <= self.version:
            return
        versions = self._client.model_versions(self._name)
        live, before = next(each for each in versions if each.live), previous(versions)
        about = live.about
        self.version = live.version
        self.best_loss = self.best_loss if about.loss is None else about.loss
        self.posted = about.metrics.get("gate", self.best_loss)
        self.bar = float("inf")
        since = time.time() if about.unix_time is None else about.unix_time
        self.trial = None
        if before is not None:
            self._begin(Trial(live.version, before, since))

    def settle(self, *, unless: Callable[[], bool]) -> None:
        """Wait for the end of a trial, which has one; `unless` ends the waiting early, after one look."""
        self.watch(at_once=True)
        while self.trial is not None and not unless():
            self.watch()
            time.sleep(LOOK_EVERY_S / 10)

    def is_lost(self) -> bool:
        """Tell whether the database has not what was posted last: it came back as it was before, or empty."""
        return max(newest(self._client.model_versions(self._name)), self._live_version()) < self.version

    def post_again(
        self,
        network: torch.nn.Module,
        example: Sequence[torch.Tensor],
        loss: float,
        *,
        about: ModelAbout | None = None,
    ) -> int | None:
        """Post a network whatever was posted before; raises what `offer` does."""
        self.best_loss, self.bar = float("inf"), float("inf")
        self._end()
        return self.offer(network, example, loss, about=about)

    def events(self) -> list[dict[str, Any]]:
        """Return what has become of versions since the last call, as lines of the history."""
        events, self._events = self._events, []
        return events

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        trial = None if self.trial is None else list(dataclasses.astuple(self.trial))
        own = {name: getattr(self, name) for name in _OWN}
        return own | {"trial": trial, "rolled_back": list(self.rolled_back)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for name in _OWN:
            setattr(self, name, state[name])
        self.trial = None if state["trial"] is None else Trial(*state["trial"])
        self.rolled_back = list(state["rolled_back"])

    def _may_pass(self, network: torch.nn.Module, loss: float, held_out: HeldOut | None) -> bool:
        gate = self._terms.gate
        if gate is None or held_out is None:
            self.verdict = None
            bar = min(self.best_loss, self.bar)
            return loss < bar * (1 - math.copysign(self._terms.improvement, bar))
        inputs = {f"input {i}": torch.from_numpy(array) for i, array in enumerate(held_out.inputs)}
        prediction, *more = (output.cpu().numpy() for output in predicted(network, inputs))
        self.verdict = gate.judge(
            self._client, self._name, prediction, held_out, self.bar, outputs=1 + len(more)
        )
        if self.verdict.live == math.inf and self.verdict.version == self.version:
            # Our own, which has answered before: that it does not now is no reason to take a worse one.
            return self.verdict.passed and gate.beats(self.verdict.candidate, self.posted)
        return self.verdict.passed

    def _tell_gate(self, step: int | None, version: int | None) -> None:
        if self.verdict is None:
            return
        candidate, live = self.verdict.candidate, self.verdict.live
        if not math.isfinite(candidate):
            reason = f"its own error on the held-out samples is {candidate}"
        elif live is None:
            reason = "there was none before it"
        elif math.isinf(live):
            reason = f"version {self.verdict.version} cannot answer for these samples"
        else:
            reason = f"{candidate:.4g} against {live:.4g} of version {self.verdict.version}"
        told = {"version": version, "accepted": version is not None, "reason": reason}
        at = {} if step is None else {"step": step}
        errors = {"candidate": _finite(candidate), "live": None if live is None else _finite(live)}
        self._events.append({"event": "gate", "unix_time": time.time(), **at, **told, **errors})

    def _post(self, archive: bytes, loss: float, about: ModelAbout | None) -> int:
        known = ModelAbout() if about is None else about
        metrics = dict(known.metrics)
        if self.verdict is not None:
            metrics["gate"] = self.verdict.candidate
            if self.verdict.live is not None and math.isfinite(self.verdict.live):
                metrics["gate_live"] = self.verdict.live
        commit = known.git_commit or self._commit
        form = known.format or self._format.value
        known = dataclasses.replace(known, loss=loss, metrics=metrics, git_commit=commit, format=form)
        used = newest(self._client.model_versions(self._name))
        version = max(self.version, used, self._live_version()) + 1
        self._client.put_model(self._name, archive, version, device=self._device, about=known)
        return version

    def _begin(self, trial: Trial) -> None:
        """Put a version on trial, and have the one before it kept meanwhile."""
        assert self._terms.canary is not None
        self.trial = trial
        left_s = max(0.0, self._terms.canary.seconds - self._elapsed_s(trial))
        self._client.begin_trial(self._name, trial.version, trial.before, left_s + GRACE_S)

    def _end(self) -> None:
        trial, self.trial = self.trial, None
        if trial is not None:
            with suppress(DatabaseUnavailable):  # it expires where this does not arrive
                self._client.end_trial(self._name, trial.version)

    def _finding(self, trial: Trial) -> Finding:
        canary = self._terms.canary
        if canary is None:
            return Finding.PASSED
        now, before = (
            [report.value for report in self._client.reported_errors(self._name, version)]
            for version in (trial.version, trial.before)
        )
        return canary.look(now, before, self._elapsed_s(trial))

    def _elapsed_s(self, trial: Trial) -> float:
        """Return the time since a version was posted; within one life it does not follow the host's clock."""
        if self._clock is None or self._clock[0] != trial.version:
            self._clock = trial.version, time.monotonic() - max(0.0, time.time() - trial.since)
        return time.monotonic() - self._clock[1]

    def _gone_back(self, trial: Trial) -> int | None:
        """Make the version before live again, or the newest one before it that was not removed; return it."""
        versions = self._client.model_versions(self._name)
        older = [each.version for each in versions if each.was_live and each.version < trial.before]
        for version in (trial.before, *reversed(older)):
            with suppress(ModelMissing):  # it was removed
                self._client.promote(self._name, version)
                return version
        return None

    def _live_version(self) -> int:
        try:
            return self._client.model_version(self._name)
        except ModelMissing:
            return 0


def _finite(error: float) -> float | None:
    return error if math.isfinite(error) else None
