"""The page about a run: its numbers are those of the run, and it needs nothing from elsewhere."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import RunError
from orchestrator.record import run_at
from orchestrator.report import PAGE, write_report
from orchestrator.report.page import page
from tests.unit.orchestrator.report.runs import (
    BEGAN,
    Page,
    job,
    judgement,
    write_history,
    write_run,
    write_specimen,
)

LINES = [
    judgement(10, 0.9, 1),
    judgement(20, 0.5, 2),
    judgement(30, 0.6),
    judgement(40, 0.02, 3, missed=4, idle_s=12.0, buffer_bytes=2_000_000),
]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    write_run(directory, [job("trainer"), job("heat_0")])
    write_history(directory / "trainer", LINES)
    return directory


def shown(run_dir: Path) -> Page:
    return Page(write_report(run_at(run_dir)).read_text())


def test_a_page_without_a_trainer_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [job("heat_0")])
    page = shown(tmp_path / "run")
    assert "There are no curves: no program has written the history of a training" in page.text
    assert "Loss and validation" not in page.text
    assert "heat_0" in page.text


def test_a_page_of_a_run_that_started_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [], state="failed", error="no executable python3")
    page = shown(tmp_path / "run")
    assert "The run has started no program." in page.text
    assert "no executable python3" in page.text


def test_the_numbers_are_those_of_the_history(run_dir: Path) -> None:
    charts = shown(run_dir).charts
    learning = charts["Loss and validation over the time"]
    assert learning["validation, held-out samples"] == [[10, 0.9], [20, 0.5], [30, 0.6], [40, 0.02]]
    assert learning["loss of the last batch"] == [[10, 0.45], [20, 0.25], [30, 0.3], [40, 0.01]]
    assert learning["posted as a version"] == [[10, 0.9], [20, 0.5], [40, 0.02]]
    assert charts["Buffer"]["samples held"] == [[10, 100], [20, 200], [30, 300], [40, 400]]
    assert charts["Buffer"]["of them never drawn"] == [[10, 10], [20, 20], [30, 30], [40, 40]]
    assert charts["Age of the samples drawn"]["median"] == [[step, 3] for step in (10, 20, 30, 40)]
    rates = charts["Snapshots"]
    assert rates["announced by producers"] == [[20, 15], [30, 15], [40, 15]]
    assert rates["taken in by the trainer"] == [[20, 12], [30, 12], [40, 12]]
    assert charts["Gradient steps"]["batches/s"] == [[20, 1], [30, 1], [40, 1]]


def test_nothing_is_fetched_and_every_picture_is_whole(run_dir: Path) -> None:
    field = np.random.default_rng(0).normal(size=(2, 6, 5))
    write_specimen(run_dir / "trainer", 3, field, field + 0.1)
    page = shown(run_dir)
    assert page.svgs
    assert page.addresses and all(address.startswith("data:image/png;base64,") for address in page.addresses)
    text = (run_dir / PAGE).read_text()
    for word in ("http:", "https:", "//cdn", "@import", "url(", "<link", "<iframe"):
        assert word not in text, word


def test_commands_in_a_sentence_are_code(tmp_path: Path) -> None:
    error = "`sinfo --version` was refused <b>; it's `"
    jobs = [job("heat_0", state="failed", reason="`mpiexec` is too old")]
    write_run(tmp_path / "run", jobs, state="failed", error=error, ended=None)
    text = write_report(run_at(tmp_path / "run")).read_text()
    assert "<code>sinfo --version</code> was refused &lt;b&gt;; it&#x27;s `" in text
    assert "<code>penstock report</code>" in text and "<code>mpiexec</code> is too old" in text
    assert "There are no curves yet" in text


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    name = "</title><script>alert(1)</script>\x1b[31m\udcff&'\""
    write_run(
        tmp_path / "run",
        [job(name, state="failed", returncode=1, reason=name, parameters={name: name})],
        experiment=name,
        error=name,
        host=name,
    )
    page = shown(tmp_path / "run")
    assert page.tags.count("script") == 1
    assert "\\x1b[31m\\udcff" in page.text
    assert "alert(1)" in page.text


def test_a_run_that_goes_on_is_shown_as_it_is(run_dir: Path) -> None:
    write_run(run_dir, [job("trainer", state="active", ended=None, returncode=None)], ended=None)
    first = Page(page(run_at(run_dir), BEGAN + 45))
    assert "It has not ended" in first.text
    assert "44.0 s" in first.text  # the trainer began a second later than the run
    write_history(run_dir / "trainer", [*LINES, judgement(50, 0.01, 4)])
    later = Page(page(run_at(run_dir), BEGAN + 55))
    assert later.charts["Loss and validation over the time"]["posted as a version"][-1] == [50, 0.01]
    assert later.charts["Which version was live"]["live version"][-1] == [55, 4]


def test_damaged_lines_are_named_and_counted_and_the_others_shown(run_dir: Path) -> None:
    path = run_dir / "trainer" / "history.jsonl"
    damaged = [
        "nonsense",
        "[1]",
        '{"step": 1}',
        '{"unix_time": "x", "step": 1, "validation": 1}',
        "\x00" * 40,
    ]
    damaged += ['{"unix_time": NaN, "step": 1, "validation": 1}', '{"event": "gate"}', "[" * 100_000]
    path.write_text("\n".join(damaged) + "\n" + path.read_text() + '{"unix_time": 17')
    page = shown(run_dir)
    assert "trainer/history.jsonl: 9 lines skipped: line 1 (no JSON), line 2 (no JSON object)" in page.text
    assert "line 3 (without unix_time)" in page.text and "and 4 more" in page.text
    assert len(page.charts["Loss and validation over the time"]["validation, held-out samples"]) == 4


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"event": "gate", "unix_time": 1, "step": "x"}', "step is no number"),
        ('{"event": "gate", "unix_time": 1, "step": [1]}', "step is no number"),
        ('{"event": "gate", "unix_time": 1, "step": 1' + "0" * 400 + "}", "step is no number"),
        ('{"event": "gate", "unix_time": 1, "accepted": true, "version": [1]}', "version is no number"),
        ('{"event": "gate", "unix_time": 1e18, "accepted": true, "version": 2}', "unix_time is no time"),
        ('{"event": "rollback", "unix_time": -1e13, "version": 2}', "unix_time is no time"),
        ('{"unix_time": 1e18, "step": 1, "validation": 1, "version": 2}', "unix_time is no time"),
        ('{"unix_time": Infinity, "step": 1, "validation": 1}', "unix_time is no time"),
        ('{"unix_time": 1, "step": -Infinity, "validation": 1}', "step is not finite"),
        ('{"unix_time": 1, "step": 1, "validation": 1, "version": {"a": 1}}', "version is no number"),
    ],
)
def test_an_odd_line_is_named_and_the_others_shown(run_dir: Path, line: str, why: str) -> None:
    with (run_dir / "trainer" / "history.jsonl").open("a") as file:
        file.write(line + "\n")
    page = shown(run_dir)
    assert f"trainer/history.jsonl: 1 line skipped: line 5 ({why})" in page.text
    assert len(page.charts["Loss and validation over the time"]["validation, held-out samples"]) == 4


@pytest.mark.parametrize(
    "facts",
    [
        {"event": None},
        {"event": ["gate"]},
        {"event": "rollback", "from": {"<b>": 1}, "version": 1, "reason": ["\ud800", None]},
        {"event": "gate", "accepted": 1, "version": math.inf, "candidate": "x", "live": [1]},
        {"event": "gate", "version": -3, "step": 1e308, "reason": {"a": {"b": 1}}},
        {"step": -5, "validation": -1, "version": math.nan},
        {"step": 1e308, "validation": 10**300, "samples": "x", "announced": {}, "idle_s": None, "loss": True},
    ],
)
def test_what_a_line_should_not_have_spoils_no_page(run_dir: Path, facts: dict[str, Any]) -> None:
    write_history(run_dir / "trainer", [*LINES, {**judgement(50, 0.1), **facts}])
    write_report(run_at(run_dir))
    page = Page((run_dir / PAGE).read_text(encoding="utf-8"))
    assert len(page.charts["Loss and validation over the time"]["validation, held-out samples"]) >= 4


def test_a_history_that_is_no_file_is_named(run_dir: Path) -> None:
    path = run_dir / "trainer" / "history.jsonl"
    path.unlink()
    os.mkfifo(path)
    assert "trainer/history.jsonl is no regular file" in shown(run_dir).text
    path.unlink()
    path.mkdir()
    assert "trainer/history.jsonl is no regular file" in shown(run_dir).text


def test_a_line_that_is_being_written_is_called_cut_off(run_dir: Path) -> None:
    with (run_dir / "trainer" / "history.jsonl").open("a") as file:
        file.write('{"unix_time": 17000')
    assert "trainer/history.jsonl: 1 line skipped: line 5 (cut off)" in shown(run_dir).text


def test_an_empty_history_is_no_error(run_dir: Path) -> None:
    write_history(run_dir / "trainer", [])
    page = shown(run_dir)
    assert "has judged no network yet" in page.text
    assert "No network has been posted yet." in page.text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, 0.0, -1.0, 1e-320])
def test_odd_numbers_spoil_no_chart(run_dir: Path, value: Any) -> None:
    lines = [*LINES, judgement(50, 0.1, loss=value, announced=value, samples=value, missed=value)]
    write_history(run_dir / "trainer", lines)
    page = shown(run_dir)
    known = page.charts["Loss and validation over the time"]["validation, held-out samples"]
    assert [point[1] for point in known] == [0.9, 0.5, 0.6, 0.02, 0.1]
    drawn = abs(value) < 1e30
    assert ("1 values that are not finite, or above 1e+30, are left out." in page.text) is not drawn


def test_a_validation_that_is_not_finite_is_left_out_and_said(run_dir: Path) -> None:
    write_history(run_dir / "trainer", [*LINES, judgement(50, math.nan)])
    page = shown(run_dir)
    assert "best validation 0.02" in page.text
    assert (
        "2 values that are not finite, or above 1e+30, are left out." in page.text
    )  # the loss is half of it


def test_gates_and_rollbacks_are_told_with_their_reasons(run_dir: Path) -> None:
    accepted = {"version": 2, "accepted": True, "reason": "better"}
    refused = {"version": None, "accepted": False, "reason": "0.6 > 0.5", "candidate": 0.6, "live": 0.5}
    back = {"version": 2, "from": 3, "reason": "the solver saw NaN"}
    events = [
        {"event": "gate", "unix_time": BEGAN + 20, "step": 20, **accepted},
        {"event": "gate", "unix_time": BEGAN + 30, **refused},
        {"event": "rollback", "unix_time": BEGAN + 45, **back},
        {"event": "of a later Penstock", "unix_time": BEGAN + 46},
    ]
    write_history(run_dir / "trainer", [*LINES, *events])
    page = shown(run_dir)
    chart = page.charts["Which version was live"]
    assert chart["live version"] == [[10, 1], [20, 2], [40, 3], [45, 2], [60, 2]]
    assert chart["went live"] == [[10, 1], [20, 2], [40, 3]]  # version 2 once: its gate tells more
    assert chart["refused"] == [[30, 2]]
    assert chart["rolled back"] == [[45, 2]]
    assert "3 went live, 1 refused, 1 rolled back" in page.text
    assert "0.6 > 0.5" in page.text
    assert "from version 3: the solver saw NaN" in page.text


def test_a_trainer_that_was_started_again_has_no_negative_rate(run_dir: Path) -> None:
    first = judgement(15, 0.1, unix_time=BEGAN + 50, announced=650)
    again = [first, judgement(25, 0.1, unix_time=BEGAN + 60, announced=750)]
    write_history(run_dir / "trainer", [*LINES, *again])
    charts = shown(run_dir).charts
    assert charts["Gradient steps"]["batches/s"][-2:] == [[40, 1], [60, 1]]
    assert charts["Snapshots"]["announced by producers"][-2:] == [[50, 5], [60, 10]]


def test_what_was_never_learned_from_is_counted(run_dir: Path) -> None:
    write_history(run_dir / "trainer", [*LINES, judgement(50, 0.1, missed=4, non_finite=2)])
    text = shown(run_dir).text
    assert "4 snapshots were dropped before they were read. 2 were skipped, for they carry NaN" in text


def test_waiting_is_shown_where_it_was_measured(run_dir: Path) -> None:
    lines = [judgement(10, 0.9, idle_s=8.0), judgement(20, 0.5, idle_s=10.5), judgement(30, 0.4, idle_s=10.5)]
    write_history(run_dir / "trainer", lines)
    assert shown(run_dir).charts["Trainer idle"]["waiting for samples"] == [[20, 25], [30, 0]]


def test_two_trainers_are_told_apart(run_dir: Path) -> None:
    write_run(run_dir, [job("trainer"), job("other")])
    write_history(run_dir / "other", [judgement(10, 0.3, 1)])
    text = shown(run_dir).text
    assert "Versions of trainer" in text and "Versions of other" in text


def test_a_failed_program_has_its_last_words(run_dir: Path) -> None:
    failed = job("heat_0", state="failed", returncode=3, reason="exit code 3")
    write_run(run_dir, [job("trainer"), failed], state="failed", error="heat_0 failed")
    (run_dir / "heat_0").mkdir()
    (run_dir / "heat_0" / "log.txt").write_text("step 1\n<blown up>\n")
    page = shown(run_dir)
    assert "2 programs, 1 failed" in page.text
    assert "<blown up>" in page.text and "heat_0: the end of its log" in page.text


def test_a_thousand_programs_are_all_in_the_table(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [job(f"heat_{number}") for number in range(1000)])
    page = shown(tmp_path / "run")
    assert "960 more are not in the picture" in page.text
    assert all(f"heat_{number}" in page.words for number in range(1000))


def test_a_long_history_is_thinned_and_keeps_its_extremes(run_dir: Path) -> None:
    values = np.random.default_rng(0).uniform(0.1, 1, 5000)
    values[1234], values[4321] = 0.01, 20.0
    lines = [judgement(step, float(value), unix_time=BEGAN + step / 100) for step, value in enumerate(values)]
    write_history(run_dir / "trainer", lines)
    page = shown(run_dir)
    known = page.charts["Loss and validation over the gradient steps"]["validation, held-out samples"]
    assert len(known) <= 400
    assert [1234, 0.01] in known and [4321, 20.0] in known
    assert "Thinned to the extremes of 200 parts." in page.text


def test_a_page_that_cannot_be_written_is_an_error_that_says_where(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written to .*/nowhere/page.html"):
        write_report(run_at(run_dir), tmp_path / "nowhere" / "page.html")
    (run_dir / PAGE).mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        write_report(run_at(run_dir))
    assert not list(run_dir.glob(".report*"))


@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing", "directory", "socket"])
def test_what_is_no_file_is_never_replaced_by_a_page(run_dir: Path, kind: str) -> None:
    path = run_dir / PAGE
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to(run_dir / ("run.json" if kind == "link" else "nothing"))
    before = path.lstat()
    with pytest.raises(RunError, match=rf"cannot be written to {path}: it is no regular file"):
        write_report(run_at(run_dir))
    after = path.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert not list(run_dir.glob(".report*"))


def test_the_root_directory_is_no_page(run_dir: Path) -> None:
    with pytest.raises(RunError, match="cannot be written to /: it is no regular file"):
        write_report(run_at(run_dir), Path("/"))


def test_a_page_takes_the_place_of_the_one_before(run_dir: Path) -> None:
    (run_dir / PAGE).write_text("before")
    assert "toy-1" in write_report(run_at(run_dir)).read_text()


def test_the_summary_says_what_was_run_where(run_dir: Path) -> None:
    source = {"experiment": "/home/me/toy", "quick": True, "overrides": ["seed=3"], "launcher": "slurm"}
    source |= {"mpiexec": None, "config": {}, "script": "0", "commit": "0123456789ab-dirty"}
    node = {"name": "db_0", "shard": 0, "host": "n1", "port": 7000, "unix_socket": None, "replica": 0}
    node |= {"directory": "/x", "slots": None, "identity": "i"}
    nodes = [node, {**node, "shard": 1, "port": 7001}]
    databases = [{"identifier": "", "environment": {}, "nodes": nodes}]
    write_run(run_dir, [job("trainer")], source=source, databases=databases, batch="17")
    text = shown(run_dir).text
    for fact in (
        "0123456789ab-dirty",
        "--quick --set seed=3",
        "slurm",
        "2 shards on n1:7000, n1:7001",
        "elsewhere",
    ):
        assert fact in text, fact
    assert "17 of slurm" in text and "1 min 0 s" in text


def test_a_run_whose_driver_has_gone_is_called_lost(run_dir: Path) -> None:
    write_run(run_dir, [job("trainer")], state="active", ended=None)
    assert "lost" in shown(run_dir).words


def test_a_resumed_run_is_shown_from_its_first_beginning(run_dir: Path) -> None:
    lives = [{"run": "toy-0", "state": "failed", "error": "x", "started": BEGAN, "ended": BEGAN + 30}]
    write_run(run_dir, [job("trainer")], started=BEGAN + 35, resumed=lives)
    page = shown(run_dir)
    drawn = page.charts["Loss and validation over the time"]["posted as a version"]
    assert [point[0] for point in drawn] == [10, 20, 40]
    assert "resumed" in page.words and "1 min 0 s" in page.text


def test_an_error_keeps_its_lines(run_dir: Path) -> None:
    write_run(
        run_dir, [job("trainer")], state="failed", error="'trainer' failed\nlast lines of its log:\n<a>"
    )
    assert "'trainer' failed\nlast lines of its log:\n<a>" in shown(run_dir).words


def test_a_directory_that_was_moved_is_read_where_it_is(run_dir: Path, tmp_path: Path) -> None:
    moved = run_dir.rename(tmp_path / "moved")
    assert write_report(run_at(moved)) == moved / PAGE
    assert "40 gradient steps, best validation 0.02, 3 versions posted" in (moved / PAGE).read_text()
