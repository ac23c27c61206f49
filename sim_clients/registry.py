"""The versions of a model: what is known of each, and what solvers have reported of it.

Beside the models, in the slot of `{name}`, the database keeps

    {name}.versions        a hash: version -> what is known of it
    {name}.lived           a sorted set: the versions that were live, each noted when it was left
    {name}.swap            who makes a version live or removes one just now: one program at a time
    {name}.trial           `<version> <before>`: while the first is live it is on trial, and the second kept
    {name}.errors.<v>      a list: what solvers have reported of version v, oldest first

What is known of a version is an object in JSON, which never changes. Before it stands `removed ` when the
archive has been removed; while it is being posted there is `posting by <producer>.<rank> <token>` in its
place, whose last word no other client has. Other programs may read all of it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

from sim_clients.errors import ModelRejected

State = Literal["stored", "posting", "removed", "damaged"]

REPORTS_KEPT = 1000
"""How many reports of a version are kept: the newest, and one older that is NaN or infinite."""

_LARGEST = sys.float_info.max
_YEAR_10000 = 253402300800.0
_REMOVED = "removed "
_POSTING = "posting by "


@dataclass(frozen=True)
class ModelAbout:
    """What is known of a version of a model; None is not known.

    Attributes:
        loss: by which it was judged before it was posted.
        metrics: others, by their names.
        samples: that it has learned from, each as often as it was drawn.
        steps: of training.
        git_commit: of the code that trained it.
        format: of the archive: `torchscript`, `aotinductor`, `onnx`.
        parent: the version that was live when it was posted; the client fills it in.
        unix_time: when it was posted, s; the client fills it in.
        bytes: of the archive; the client fills it in.
    """

    loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: int | None = None
    steps: int | None = None
    git_commit: str | None = None
    format: str | None = None
    parent: int | None = None
    unix_time: float | None = None
    bytes: int | None = None

    def as_json(self) -> str:
        """Return what is known, as an object in JSON."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, {})}
        return json.dumps(known)


class ReportedError(NamedTuple):
    """What one solver has said of a version, by a measure of its own of which less is better."""

    value: float
    producer: str
    rank: int

    def __str__(self) -> str:
        return f"{self.value!r} {self.producer} {self.rank}"


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model.

    Attributes:
        version: its number.
        state: `stored`; `posting`, while it is on its way, or for ever where that was cut off; `removed`;
            `damaged`, where what is kept of it cannot be read: nothing is known of it then.
        about: what is known of it.
        live: the plain name answers as it.
        was_live: it is live, or was so before the live one and was left for a later one: one can go back to
            it.
        fallback: the live one is on trial, and would go back to it; until then it is not removed.
    """

    version: int
    state: State
    about: ModelAbout
    live: bool = False
    was_live: bool = False
    fallback: bool = False


def previous(versions: Iterable[ModelVersion]) -> int | None:
    """Return the version to go back to, None where there is none."""
    versions = list(versions)
    live = next((each.version for each in versions if each.live), 0)
    there = ("stored", "damaged")  # the archive is there
    before = (each.version for each in versions if each.was_live and each.state in there)
    return max((version for version in before if version < live), default=None)


def newest(versions: Iterable[ModelVersion]) -> int:
    """Return the greatest number that was ever used, 0 where there is none."""
    return max((each.version for each in versions), default=0)


def claim_of(producer: str, rank: int, token: str) -> str:
    """Return what stands for a version while somebody posts it; the token is of this client alone."""
    return f"{_POSTING}{producer}.{rank} {token}"


def entry_of(about: ModelAbout | None, size: int, live: int) -> str:
    """Return what is kept of a version.

    Args:
        about: what the user says of it.
        size: of its archive, bytes.
        live: the version that is live, 0 where there is none.
    """
    facts = {"parent": live or None, "unix_time": round(time.time(), 3), "bytes": size}
    return json.dumps(facts | json.loads(_plain(about or ModelAbout()).as_json()))


def removed_entry(entry: str) -> str:
    """Return what is kept of a version when its archive is gone."""
    return entry if entry.startswith(_REMOVED) else _REMOVED + entry


def trial_text(name: str, version: int, before: int, seconds: float) -> str:
    """Return what is kept of a trial.

    Args:
        version: that is on trial.
        before: the one that would be gone back to.
        seconds: how long it lasts at most.

    Raises:
        ModelRejected: such a trial cannot be.
    """
    if before >= version:
        raise ModelRejected(name, f"the trial of version {version} cannot go back to version {before}")
    if not seconds > 0:  # nor NaN
        raise ModelRejected(name, f"the trial of version {version} is to last {seconds} s")
    return f"{version} {before}"


def versions_from(
    entries: Mapping[str, str], lived: set[int], live: int, trial: str | None = None
) -> list[ModelVersion]:
    """Read the registry of a model.

    Args:
        entries: what is kept of each version.
        lived: those that were live and were left.
        live: 0 where none is.
        trial: what is kept of the last one, if it is not over.

    Returns:
        The versions, oldest first; the live one also where another program has posted it. One whose entry
        another program has written is `damaged`.
    """
    numbers = (key for key in entries if key.isascii() and key.isdigit())
    found = {int(key): _parsed(entries[key]) for key in numbers}
    if live and live not in found:
        found[live] = ("stored", ModelAbout())
    fallback = _fallback(trial, live)
    return [
        ModelVersion(
            version,
            state,
            about,
            live=version == live,
            was_live=version == live or (version in lived and version < live),
            fallback=version == fallback,
        )
        for version, (state, about) in sorted(found.items())
    ]


def check_unused(name: str, version: int, held: str | None, claim: str | None) -> None:
    """Check that a claim was successful.

    Args:
        name: of the model.
        version: its number.
        held: what is kept of it now.
        claim: what should be, None where nothing should.

    Raises:
        ModelRejected
    """
    if held != claim:
        reason = f"there was a version {version} before, and a version never changes; take the next number"
        raise ModelRejected(name, reason)


def check_removable(name: str, version: int, versions: Sequence[ModelVersion]) -> None:
    """Check that a version may be removed.

    Raises:
        ModelRejected: it is live, or the live one is on trial and would go back to it.
    """
    found = next((each for each in versions if each.version == version), None)
    if found is not None and found.live:
        raise ModelRejected(name, f"version {version} is live; promote another one before it is removed")
    if found is not None and found.fallback:
        live = next(each.version for each in versions if each.live)
        reason = f"the trial of version {live} would go back to version {version}; wait for its end"
        raise ModelRejected(name, f"{reason}, or promote another one, before it is removed")


def reported(text: str) -> ReportedError:
    """Read what a solver has reported."""
    value, producer, rank = text.split()
    return ReportedError(float(value), producer, int(rank))


def checked_model_about(name: str, about: ModelAbout | None) -> str:
    """Return what the user says of a version, as JSON.

    Raises:
        ModelRejected: it is no ModelAbout, or has what JSON has not, or what is of another type.
    """
    if about is None:
        return "{}"
    if not isinstance(about, ModelAbout):
        raise ModelRejected(name, f"what is known of it is a ModelAbout, got {type(about).__name__}")
    about = _plain(about)
    if (wrong := _wrong(about)) is not None:
        raise ModelRejected(name, wrong)
    return about.as_json()


def _plain(about: ModelAbout) -> ModelAbout:
    """Return the same with Python's own numbers where it has numpy's or torch's scalars."""
    plain = {each.name: _number(getattr(about, each.name)) for each in dataclasses.fields(ModelAbout)}
    if isinstance(about.metrics, Mapping):
        plain["metrics"] = {name: _number(each) for name, each in about.metrics.items()}
    return ModelAbout(**plain)


def _number(known: Any) -> Any:
    if isinstance(known, bool) or not isinstance(known, Real):
        return known
    return int(known) if isinstance(known, Integral) else float(known)


def _wrong(about: ModelAbout) -> str | None:
    """Return what is wrong with what is known of a version, None where nothing is."""
    metrics = about.metrics
    if not isinstance(metrics, Mapping) or not all(isinstance(name, str) for name in metrics):
        return f"its metrics are numbers by their names, got {metrics!r:.60}"
    for name, number in {"loss": about.loss, "unix_time": about.unix_time, **metrics}.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))):
            return f"its {name} is a number, got {number!r:.60}"
        if number is not None and not abs(number) <= _LARGEST:
            return f"its {name} is {number!r:.60}"
    if about.unix_time is not None and not 0 <= about.unix_time < _YEAR_10000:
        return f"its unix_time is {about.unix_time}"
    for name in ("samples", "steps", "parent", "bytes"):
        whole = getattr(about, name)
        if whole is not None and (isinstance(whole, bool) or not isinstance(whole, int) or whole < 0):
            return f"its {name} is a whole number, got {whole!r:.60}"
    for name in ("git_commit", "format"):
        text = getattr(about, name)
        if text is not None and not isinstance(text, str):
            return f"its {name} is a text, got {text!r:.60}"
    return None


_LONGEST_TRIAL = 100
"""Characters that the text of a trial has at most."""


def _fallback(trial: str | None, live: int) -> int:
    """Return which version a trial would go back to, 0 for none: it is over, or not that of the live one."""
    words = (trial or "")[:_LONGEST_TRIAL].split()
    numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
    return numbers[1] if len(numbers) == 2 and numbers[0] == live else 0


def _parsed(text: str) -> tuple[State, ModelAbout]:
    if text.startswith(_POSTING):
        return "posting", ModelAbout()
    removed = text.startswith(_REMOVED)
    text = text.removeprefix(_REMOVED)
    about = None if text.startswith(_POSTING) else _read(text)
    if removed:
        return "removed", about or ModelAbout()
    return ("damaged", ModelAbout()) if about is None else ("stored", about)


def _read(text: str) -> ModelAbout | None:
    """Return what a text says of a version, None where it is not ours."""
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(known, dict):
        return None
    names = {each.name for each in dataclasses.fields(ModelAbout)}
    about = ModelAbout(**{key: value for key, value in known.items() if key in names})
    return about if _wrong(about) is None else None
