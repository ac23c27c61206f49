"""The page about a run, `report.html`: one file without a word from elsewhere.

`reading.py` reads what programs have written, `learning.py`, `fields.py` and `programs.py` make a part of the
page each, `chart.py` and `pictures.py` draw. The styles and the few lines of script are
`page.css` and `page.js`.
"""

from __future__ import annotations

import datetime
import math
import os
import stat
import time
from collections.abc import Iterator
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from orchestrator.errors import RunError
from orchestrator.record import DatabaseEntry, Run
from orchestrator.report.fields import fields
from orchestrator.report.learning import Clock, buffer, curves, throughput, version_part
from orchestrator.report.markup import Markup, e, escaped, join, worded
from orchestrator.report.programs import programs
from orchestrator.report.reading import Training, read_trainings
from orchestrator.report.scales import duration, short

PAGE = "report.html"


def write_report(run: Run, path: Path | None = None) -> Path:
    """Write the page about a run as it is now.

    Args:
        run: finished or running.
        path: of the page; `report.html` in the run's directory by default.

    Returns:
        The path.

    Raises:
        RunError: the page cannot be written, or what is there is no regular file, but a directory, device,
            pipe or link; what was there before is still there.
    """
    path = path or run.directory / PAGE
    try:
        other = not stat.S_ISREG(path.lstat().st_mode)
    except OSError:  # nothing is there yet, or writing says why it cannot be
        other = False
    if other or not path.name:
        raise RunError(f"the report cannot be written to {path}: it is no regular file", run=run.run_id)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(page(run, time.time()), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise RunError(
            f"the report cannot be written to {path}: {error.strerror or error}", run=run.run_id
        ) from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def page(run: Run, now: float) -> str:
    """Return the page, of a run that may still be running.

    Args:
        run: the run.
        now: unix time, s.
    """
    record = run.record
    began = min([record.started, *(life.started for life in record.resumed if life.started is not None)])
    clock = Clock(began, max(0.0, (record.ended or now) - began))
    trainings = read_trainings(run.directory, [job.name for job in record.jobs])
    servers = {node.name for database in record.databases for node in database.nodes}
    body = join(
        _header(run, clock, now),
        _damage(trainings),
        section("Summary", _summary(run, clock, trainings)),
        *(part for training in trainings for part in _training(training, clock, len(trainings))),
        None if trainings else section("Training", e("p", _no_training(run))),
        section("Programs", programs(run.directory, record.jobs, servers, clock)),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escaped(run.run_id)}</title><style>{_text('page.css')}</style></head>"
        f"<body>{body}<script>{_text('page.js')}</script></body></html>\n"
    )


def _no_training(run: Run) -> str:
    yet = "" if run.record.ended is not None else " yet"
    return f"There are no curves{yet}: no program has written the history of a training, history.jsonl."


def section(title: str, *parts: Markup | None) -> Markup:
    """Return a part of the page under a heading."""
    return e("section", e("h2", title), *parts)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _header(run: Run, clock: Clock, now: float) -> Markup:
    ended = run.record.ended is not None
    state = "" if ended else " It has not ended: `penstock report` writes this page anew."
    written = f"Written {_date(now)} by penstock {version('penstock')}.{state}"
    return e(
        "header",
        e("h1", run.record.experiment, e("small", run.run_id)),
        e(
            "p",
            e("span", run.state.replace("_", " "), class_=f"state {run.state}"),
            f" after {duration(clock.span_s)}" if ended else f" for {duration(clock.span_s)}",
        ),
        e("p", worded(run.record.error), class_="error") if run.record.error else None,
        e("p", worded(written), class_="note"),
    )


def _damage(trainings: list[Training]) -> Markup | None:
    found = [each for training in trainings for each in training.damage]
    if not found:
        return None
    return section(
        "What could not be read", e("ul", *(e("li", worded(each)) for each in found), class_="damage")
    )


def _summary(run: Run, clock: Clock, trainings: list[Training]) -> Markup:
    facts = [*_facts(run, clock), *(fact for training in trainings for fact in _reached(training))]
    return e("dl", *(join(e("dt", name), e("dd", told)) for name, told in facts if told))


def _facts(run: Run, clock: Clock) -> Iterator[tuple[str, str]]:
    record, source = run.record, run.record.source
    yield "began", _date(clock.began)
    yield "resumed", f"at {_date(record.started)}" if record.resumed else ""
    yield ("ended" if record.ended else "until now"), _date(clock.began + clock.span_s)
    yield "driver's host", record.host
    yield "batch job", f"{record.batch} of {record.scheduler}" if record.batch else ""
    if source is not None:
        yield "commit", source.commit or "unknown: git knows no repository there"
        yield "experiment", str(source.experiment)
        yield "options", " ".join(["--quick"] * source.quick + [f"--set {each}" for each in source.overrides])
        yield "launcher", source.launcher or ""
    yield "database", "; ".join(map(_database, record.databases)) or "none"
    yield "directory", str(run.directory)


def _database(database: DatabaseEntry) -> str:
    shards, nodes = len({node.shard for node in database.nodes}), len(database.nodes)
    sockets = [node for node in database.nodes if node.unix_socket is not None]
    where = (
        "a Unix socket" if len(sockets) == nodes else ", ".join(f"{n.host}:{n.port}" for n in database.nodes)
    )
    replicas = f" with {nodes - shards} replicas" if nodes > shards else ""
    name = f"{database.identifier}: " if database.identifier else ""
    return f"{name}{shards} shard{'s' if shards != 1 else ''}{replicas} on {where}"


def _reached(training: Training) -> Iterator[tuple[str, str]]:
    if not training.judgements:
        yield training.program, "has judged no network yet"
        return
    last, losses = training.judgements[-1], [line["validation"] for line in training.judgements]
    finite = [loss for loss in losses if math.isfinite(loss)]
    best = (
        f"best validation {short(min(finite))}"
        if finite
        else f"{len(losses)} judgements, none of them finite"
    )
    posted = sum(bool(line.get("version")) for line in training.judgements)
    yield training.program, f"{last['step']} gradient steps, {best}, {posted or 'no'} versions posted"


def _training(training: Training, clock: Clock, count: int) -> Iterator[Markup]:
    of = f" of {training.program}" if count > 1 else ""
    yield section(f"Loss and validation{of}", curves(training, clock))
    yield section(f"Versions{of}", version_part(training, clock))
    yield section(f"Buffer{of}", buffer(training, clock))
    yield section(f"Throughput{of}", throughput(training, clock))
    if training.specimens:
        yield section(f"Fields{of}", fields(training.specimens))


def _date(unix_time: float) -> str:
    return datetime.datetime.fromtimestamp(unix_time).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
