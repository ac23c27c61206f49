"""What became of a network: its loss, its versions and gates, its buffer, and who waited for whom."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.report.chart import Chart, Point, Series
from orchestrator.report.markup import Content, Markup, e
from orchestrator.report.reading import Line, Training, number
from orchestrator.report.scales import short, time_unit

PARTS = 60
"""Rates are over at least one of so many parts of the time."""
OUTCOMES = {
    "posted": "live",
    "accepted": "live",
    "refused": "refused",
    "rolled back": "rolled back",
    "promoted": "live",
}


@dataclass(frozen=True)
class Clock:
    """The time axis of all charts of a run.

    Attributes:
        began: when the run began, unix time, s.
        span_s: until its end, or now.
    """

    began: float
    span_s: float

    @property
    def label(self) -> str:
        """What is written below an axis."""
        return f"time since the run began, {time_unit(self.span_s)[1]}"

    def at(self, unix_time: float) -> float:
        """Return a time as a chart has it."""
        return (unix_time - self.began) / time_unit(self.span_s)[0]


@dataclass(frozen=True)
class Version:
    """What became of a network that was offered.

    Attributes:
        unix_time, step: when.
        version: what it was posted as; None where it was refused.
        outcome: a key of OUTCOMES.
        validation: its own; live: that of the one it had to beat.
        reason: in the gate's words.
    """

    unix_time: float
    step: float | None
    version: int | None
    outcome: str
    validation: float | None = None
    live: float | None = None
    reason: str = ""


def curves(training: Training, clock: Clock) -> Markup:
    """Return loss and validation over the time and over the steps."""
    lines = training.judgements
    posted = [line for line in lines if line.get("version")]

    def over(x: str, title: str, label: str) -> Chart:
        return Chart(
            title,
            label,
            "relative L2 error",
            [
                Series("loss of the last batch", points(lines, x, "loss", clock), 3),
                Series("validation, held-out samples", points(lines, x, "validation", clock), 1),
                Series("posted as a version", points(posted, x, "validation", clock), 2, "disc"),
            ],
            log=True,
        )

    return e(
        "div",
        over("unix_time", "Loss and validation over the time", clock.label).markup(),
        over("step", "Loss and validation over the gradient steps", "gradient steps").markup(),
        class_="charts",
    )


def points(lines: Sequence[Line], x: str, y: str, clock: Clock) -> list[Point]:
    """Return a number of each line that has it, over another one; times as the clock has them."""
    found = []
    for line in lines:
        at, value = number(line, x), number(line, y)
        if at is not None and value is not None:
            found.append(Point(clock.at(at) if x == "unix_time" else at, value))
    return found


# ---- Versions


def versions(training: Training) -> list[Version]:
    """Return all that were offered and decided on, in the order of time.

    A gate's line tells more of a version than the judgement that posted it, and stands for it.
    """
    gated = {_version(line) for line in training.events if line["event"] == "gate" and line.get("accepted")}
    found = [
        Version(line["unix_time"], line["step"], version, "posted", number(line, "validation"))
        for line in training.judgements
        if (version := _version(line)) and version not in gated
    ]
    found += [decided for line in training.events if (decided := _decided(line))]
    return sorted(found, key=lambda version: version.unix_time)


def version_part(training: Training, clock: Clock) -> Markup:
    """Return which version was live when, and the table of all decisions."""
    known = versions(training)
    if not known:
        return e("p", "No network has been posted yet.", class_="note")
    live = [Point(clock.at(one.unix_time), one.version) for one in known if one.version]
    until = [Point(clock.at(clock.began + clock.span_s), live[-1].y)] if live else []
    series = [Series("live version", [*live, *until], 1, "steps"), *_decisions(known, clock)]
    chart = Chart("Which version was live", clock.label, "version", series, from_zero=True)
    accepted = sum(OUTCOMES[one.outcome] == "live" for one in known)
    refused, back = _count(known, "refused"), _count(known, "rolled back")
    counts = f"{accepted} went live, {refused} refused, {back} rolled back"
    return e("div", chart.markup(), _table(known, clock, counts), class_="charts beside")


def _decisions(known: Sequence[Version], clock: Clock) -> Iterator[Series]:
    """Yield the dots: a refused network has no version, and is drawn at that which stayed live."""
    dots: dict[str, list[Point]] = {outcome: [] for outcome in OUTCOMES.values()}
    now = 0
    for one in known:
        now = one.version or now
        dots[OUTCOMES[one.outcome]].append(Point(clock.at(one.unix_time), now))
    for outcome, (colour, look) in _LOOKS.items():
        if dots[outcome]:
            yield Series(outcome if outcome != "live" else "went live", dots[outcome], colour, look)


_LOOKS = {"live": (1, "disc"), "refused": (2, "cross"), "rolled back": (4, "triangle")}


def _count(known: Sequence[Version], outcome: str) -> int:
    return sum(one.outcome == outcome for one in known)


def _version(line: Line) -> int | None:
    value = number(line, "version")
    return int(value) if value is not None and abs(value) < 2**53 and value > 0 else None


def _decided(line: Line) -> Version | None:
    """Return what an event says became of a version; None where it is of another kind."""
    kinds = {"gate": "accepted" if line.get("accepted") else "refused", "rollback": "rolled back"}
    outcome = {**kinds, "promote": "promoted"}.get(str(line["event"]))
    if outcome is None:
        return None
    version = None if outcome == "refused" else _version(line)
    reason = str(line.get("reason") or "")
    if line.get("from") is not None:
        reason = f"from version {line['from']}{': ' if reason else ''}{reason}"
    validation, live = number(line, "candidate"), number(line, "live")
    return Version(line["unix_time"], number(line, "step"), version, outcome, validation, live, reason)


def _table(known: Sequence[Version], clock: Clock, counts: str) -> Markup:
    unit = time_unit(clock.span_s)[1]
    rows = [
        (
            str(one.version or "–"),
            one.outcome,
            short(clock.at(one.unix_time)),
            datetime.datetime.fromtimestamp(one.unix_time).strftime("%d %b %H:%M:%S"),
            "" if one.step is None else f"{one.step:.0f}",
            "" if one.validation is None else short(one.validation),
            "" if one.live is None else short(one.live),
            one.reason,
        )
        for one in known
    ]
    headings = ("version", "became", f"at, {unit}", "clock", "step", "validation", "live one's", "reason")
    return folded(counts, table(headings, rows), open_=True)


# ---- Buffer and throughput


def buffer(training: Training, clock: Clock) -> Markup:
    """Return how full the buffer was, and how old what was drawn from it."""
    lines = training.judgements
    fill = [
        Series("samples held", points(lines, "unix_time", "samples", clock), 1),
        Series("of them never drawn", points(lines, "unix_time", "unseen", clock), 2, "dashes"),
    ]
    ages = [
        Series("median", points(lines, "unix_time", "age_median", clock), 1),
        Series("nine of ten are younger", points(lines, "unix_time", "age_p90", clock), 2, "dashes"),
    ]
    megabytes = [number(line, "buffer_bytes") for line in lines]
    held = f"At the end it held {megabytes[-1] / 1e6:.3g} MB." if megabytes and megabytes[-1] else ""
    return e(
        "div",
        Chart("Buffer", clock.label, "samples", fill, from_zero=True, note=held).markup(),
        Chart("Age of the samples drawn", clock.label, "additions since", ages, from_zero=True).markup(),
        class_="charts",
    )


def throughput(training: Training, clock: Clock) -> Markup:
    """Return how fast the producers and the trainer were, and how long the trainer waited."""
    lines, part = training.judgements, clock.span_s / PARTS
    missed, bad = ((number(lines[-1], name) if lines else 0) for name in ("missed", "non_finite"))
    dropped = f"{missed:.0f} snapshots were dropped before they were read." if missed else ""
    skipped = f"{bad:.0f} were skipped, for they carry NaN or infinity." if bad else ""
    note = " ".join(filter(None, (dropped, skipped)))
    producers = [
        Series("taken in by the trainer", rates(lines, "snapshots", clock, part), 1),
        Series("announced by producers", rates(lines, "announced", clock, part), 2, "dashes"),
    ]
    charts = [
        Chart("Snapshots", clock.label, "snapshots/s", producers, from_zero=True, note=note),
        Chart(
            "Gradient steps",
            clock.label,
            "batches/s",
            [Series("batches/s", rates(lines, "step", clock, part), 1)],
            from_zero=True,
        ),
    ]
    idle = [Point(at, 100 * value) for at, value in rates(lines, "idle_s", clock, part)]
    if idle:
        waited = [Series("waiting for samples", idle, 4)]
        charts.append(Chart("Trainer idle", clock.label, "% of the time", waited, from_zero=True))
    return e("div", *(chart.markup() for chart in charts), class_="charts narrow")


def rates(lines: Sequence[Line], name: str, clock: Clock, least_s: float) -> list[Point]:
    """Return by how much a count grew a second, each over at least so many seconds.

    A count that falls is of a trainer that was started again, from where its checkpoint was: there the
    counting begins anew.
    """
    counted = [(line["unix_time"], value) for line in lines if (value := number(line, name)) is not None]
    found, start = [], None
    for before, now in pairwise(counted):
        if now[1] < before[1] or now[0] < before[0]:
            start = None
            continue
        start = start or before
        lasted = now[0] - start[0]
        if lasted >= least_s and lasted > 0:
            found.append(Point(clock.at(now[0]), (now[1] - start[1]) / lasted))
            start = now
    return found


# ---- Tables


def table(headings: Sequence[str], rows: Sequence[Sequence[Content]]) -> Markup:
    """Return a table without its empty columns; it scrolls where the screen is small."""
    filled = [at for at in range(len(headings)) if any(row[at] for row in rows)]
    headings, rows = [headings[at] for at in filled], [[row[at] for at in filled] for row in rows]
    head = e("thead", e("tr", *(e("th", heading) for heading in headings)))
    body = e("tbody", *(e("tr", *(e("td", cell) for cell in row)) for row in rows))
    return e("div", e("table", head, body), class_="scrolls")


def folded(title: str, inside: Markup, *, open_: bool) -> Markup:
    """Return something that a reader can fold away, or has to unfold."""
    return e("details", e("summary", title), inside, open="" if open_ else None)
