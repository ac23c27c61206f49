"""The programs of a run: when each ran, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.entries import JobEntry
from orchestrator.report.learning import Clock, folded, table
from orchestrator.report.markup import Markup, e, join, worded
from orchestrator.report.scales import Scale, duration, scale_of, short
from orchestrator.run_files import log_of, tail

MOST_ROWS = 40
"""Of more programs the first so many are in the picture; all are in the table."""
WIDTH, ROW, LEFT = 480, 22, 130
FAILED = ("failed", "lost")
TAIL_LINES = 12
COLOURS = {"active": 1, "completed": 3, "ended": 3, "failed": 2, "lost": 2, "canceled": 4, "queued": 4}


def programs(run_dir: Path, jobs: Sequence[JobEntry], servers: set[str], clock: Clock) -> Markup:
    """Return the picture, the table, and the last words of those that failed.

    Args:
        run_dir: of the run.
        jobs: as its record has them.
        servers: names of those that are servers of its databases.
        clock: of all charts.
    """
    if not jobs:
        return e("p", "The run has started no program.", class_="note")
    rows = [_row(job, servers, clock) for job in jobs]
    headings = ("program", "ended as", "exit", "began, s", "lasted", "tries", "hosts", "why", "parameters")
    failed = [job for job in jobs if job.state in FAILED]
    return join(
        _bars(jobs, servers, clock),
        folded(f"{len(jobs)} programs, {len(failed)} failed", table(headings, rows), open_=len(rows) <= 12),
        *(_last_words(run_dir, job) for job in failed[:MOST_ROWS]),
        e("p", f"The logs of {len(failed) - MOST_ROWS} more are not shown.", class_="note")
        if len(failed) > MOST_ROWS
        else None,
    )


def state_of(job: JobEntry, servers: set[str]) -> str:
    """Return the state of a program; a server that ended when its run did was not canceled to a reader."""
    return "ended" if job.name in servers and (job.state, job.returncode) == ("canceled", 0) else job.state


def _row(job: JobEntry, servers: set[str], clock: Clock) -> tuple[str, ...]:
    began = "" if job.started is None else short(round(job.started - clock.began, 2))
    hosts = ", ".join(dict.fromkeys(rank.host for rank in job.ranks or ()))
    return (
        job.name,
        state_of(job, servers),
        "" if job.returncode is None else str(job.returncode),
        began,
        "" if job.started is None else duration(_end(job, clock) - job.started),
        str(job.attempts),
        hosts,
        worded(job.reason or ""),
        ", ".join(f"{name}={value}" for name, value in job.parameters.items()),
    )


def _end(job: JobEntry, clock: Clock) -> float:
    return job.ended if job.ended is not None else clock.began + clock.span_s


def _bars(jobs: Sequence[JobEntry], servers: set[str], clock: Clock) -> Markup:
    """Return a bar for each program over the time."""
    shown = [job for job in jobs if job.started is not None][:MOST_ROWS]
    times = [clock.at(at) for job in shown for at in (job.started or 0.0, _end(job, clock))]
    xs = scale_of([0.0, *times], LEFT + 6, WIDTH - 8)
    bottom = ROW * len(shown) + 6
    left_out = len(jobs) - len(shown)
    note = f"{left_out} more are not in the picture: they are in the table." if left_out else ""
    return e(
        "figure",
        e("figcaption", "When programs ran"),
        e(
            "svg",
            *(_tick(xs, tick, bottom) for tick in xs.ticks()),
            *(_bar(job, ROW * at, xs, servers, clock) for at, job in enumerate(shown)),
            e("text", clock.label, x=(LEFT + WIDTH) / 2, y=bottom + 36, text_anchor="middle", class_="label"),
            viewBox=f"0 0 {WIDTH} {bottom + 44}",
            role="img",
            aria_label="When programs ran",
        ),
        e("p", note, class_="note") if note else None,
        class_="wide",
    )


def _tick(xs: Scale, tick: float, bottom: float) -> Markup:
    x = xs.place(tick)
    return join(
        e("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"),
        e("text", short(tick), x=x, y=bottom + 16, text_anchor="middle", class_="tick"),
    )


def _bar(job: JobEntry, top: float, xs: Scale, servers: set[str], clock: Clock) -> Markup:
    start, end = (xs.place(clock.at(at)) for at in (job.started or clock.began, _end(job, clock)))
    state = state_of(job, servers)
    name = job.name if len(job.name) <= 15 else f"{job.name[:7]}…{job.name[-7:]}"
    told = f"{job.name}: {state}, {duration(_end(job, clock) - (job.started or clock.began))}"
    return e(
        "g",
        e("title", told),
        e("text", name, x=LEFT - 6, y=top + 15, text_anchor="end", class_="tick"),
        e(
            "rect",
            x=start,
            y=top + 4,
            width=max(2.0, end - start),
            height=ROW - 8,
            rx=3,
            class_=f"b{COLOURS.get(state, 4)}",
        ),
        e("text", "✕ " + state, x=start + 6, y=top + 15, class_="on") if state in FAILED else None,
    )


def _last_words(run_dir: Path, job: JobEntry) -> Markup:
    words = tail(log_of(run_dir / job.name), TAIL_LINES) or "It has printed nothing."
    return folded(f"{job.name}: the end of its log", e("pre", words), open_=True)
