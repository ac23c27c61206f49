"""Job arrays: what is asked for, where they stand, and what their elements have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Resources
from orchestrator.array_files import (
    again,
    all_ended,
    append_event,
    element_log,
    members_of,
    merged,
    read_events,
    write_members,
)
from orchestrator.element import main
from orchestrator.errors import RunError, SlurmError, UsageError
from orchestrator.schedulers.arrays import ArraySize, array_script, elements_of, script_again, summary
from orchestrator.schedulers.base import Batch, JobStatus
from tests.unit.orchestrator.array_runs import described, member

GOLDEN = Path(__file__).parents[2] / "data" / "array.sh"
RUNS = JobStatus("RUNNING", "", True)
WAITS = JobStatus("PENDING", "Resources")


@pytest.mark.parametrize(
    ("text", "size"), [("1", ArraySize(1)), ("100", ArraySize(100)), ("100%10", ArraySize(100, 10))]
)
def test_sizes_are_read(text: str, size: ArraySize) -> None:
    assert ArraySize.parse(text) == size


@pytest.mark.parametrize("text", ["", "0", "5%0", "0%5", "0-3", "ten", "5%", "-1", "5%2%1"])
def test_sizes_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write how many elements, as in 100"):
        ArraySize.parse(text)


def script(resources: Resources, *extra_args: str, size: ArraySize = ArraySize(100, 10)) -> str:  # noqa: B008
    mine = Path("/home/me/100% mine")
    program = ("/env/bin/python", "-m", "orchestrator.element", str(mine), str(size.count))
    batch = Batch(1, "1:00:00", extra_args=extra_args)
    log = element_log(mine, "%a")
    return array_script("heat", size, resources, batch, program, log=log, working_directory=mine)


def test_script_is_the_recorded_one() -> None:
    asks_much = Resources(
        nodes=2, ranks_per_node=2, cores_per_rank=2, gpus=1, memory_gb=4.0, exclusive_hosts=True
    )
    assert script(asks_much, "--partition=gpu", "--comment=two words") == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("resources", "asked"),
    [
        (Resources(), ["--ntasks=1", "--cpus-per-task=1", "--nodes=1"]),
        (Resources(cores=4, gpus=2), ["--ntasks=1", "--cpus-per-task=4", "--nodes=1", "--gres=gpu:2"]),
        (Resources(ranks=8, cores_per_rank=2), ["--ntasks=8", "--cpus-per-task=2"]),
    ],
)
def test_an_element_asks_for_what_a_member_does(resources: Resources, asked: list[str]) -> None:
    lines = script(resources, size=ArraySize(3)).splitlines()[2:]
    assert lines[0] == "#SBATCH --array=0-2"
    assert [line.removeprefix("#SBATCH ") for line in lines[1 : len(asked) + 1]] == asked
    assert lines[len(asked) + 1].startswith("#SBATCH --time")


def test_a_path_that_slurm_would_misread_is_refused() -> None:
    log = element_log(Path("/home/me/a\\b"), "%a")
    with pytest.raises(UsageError, match=r"the path '/home/me/a\\\\b/elements/%a.txt' has '\\\\' in it"):
        array_script(
            "heat",
            ArraySize(3),
            Resources(),
            Batch(1, "5"),
            ("true",),
            log=log,
            working_directory=Path("/home/me"),
        )


@pytest.mark.parametrize("word", ["--array=1", "-n4", "--cpus-per-task=2", "--nodes=2", "-c2"])
def test_what_is_asked_already_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match=f"--sbatch {word}: is given by Penstock"):
        script(Resources(), word)


def test_elements_are_read_and_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nprintf '3|PENDING|Resources\\n0|RUNNING|None\\n1|COMPLETED|None\\n'\n")
    squeue.chmod(0o755)
    assert elements_of("7") == {3: WAITS, 0: RUNS}
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1\n")
    assert elements_of("7") == {}
    squeue.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(SlurmError, match="Unable to contact"):
        elements_of("7")


def test_an_array_stands_where_its_elements_do() -> None:
    assert summary({}) is None
    assert summary({0: WAITS, 1: WAITS}) == WAITS
    assert summary({0: RUNS}) == JobStatus("RUNNING", "1 element", True)
    told = "2 elements, 1 do not yet or no more (Resources)"
    assert summary({0: RUNS, 1: WAITS, 2: RUNS}) == JobStatus("RUNNING", told, True)


def job(name: str, state: str = "queued", **facts: Any) -> dict[str, Any]:
    started = None if state == "queued" else 1.0
    ended = 2.0 if state in ("completed", "failed", "canceled") else None
    return {"name": name, "state": state, "started": started, "ended": ended, **facts}


def waiting(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return members of two elements as they were submitted."""
    return [job(name, element=number % 2) for number, name in enumerate(names)]


RECORD = {"run": "r", "array": 2, "ended": None, "jobs": waiting("abc")}


@pytest.mark.parametrize(
    ("events", "alive", "state", "jobs"),
    [
        ({}, {0: WAITS, 1: WAITS}, "queued", ["queued", "queued", "queued"]),
        ({"a": "active"}, {0: RUNS, 1: WAITS}, "active", ["active", "queued", "queued"]),
        ({"a": "completed"}, {0: RUNS, 1: WAITS}, "active", ["completed", "queued", "queued"]),
        ({"a": "active"}, {1: RUNS}, "active", ["lost", "queued", "lost"]),
        ({"a": "completed", "b": "active"}, {}, "active", ["completed", "lost", "lost"]),
        (dict.fromkeys("abc", "completed"), {}, "completed", ["completed"] * 3),
        (
            {"a": "failed", "b": "canceled", "c": "completed"},
            {},
            "failed",
            ["failed", "canceled", "completed"],
        ),
        ({"a": "completed", "b": "canceled", "c": "completed"}, {}, "canceled", None),
    ],
)
def test_the_record_is_what_the_elements_have_left(
    events: Mapping[str, str], alive: Mapping[int, JobStatus], state: str, jobs: list[str] | None
) -> None:
    facts = merged(RECORD, {name: job(name, state) for name, state in events.items()}, alive)
    assert facts["state"] == state
    assert jobs is None or [each["state"] for each in facts["jobs"]] == jobs
    over = all(each["ended"] for each in facts["jobs"])
    assert facts["ended"] == (2.0 if over else None)


def test_failed_members_are_named() -> None:
    record = {**RECORD, "jobs": waiting([f"m_{n}" for n in range(8)])}
    events = {f"m_{n}": job(f"m_{n}", "failed" if n < 7 else "completed") for n in range(8)}
    told = "7 of 8 members have failed: m_0, m_1, m_2, m_3, m_4 and 2 more"
    assert merged(record, events, {})["error"] == told


def test_who_has_not_completed_is_submitted_again() -> None:
    events = {"a": job("a", "failed"), "b": job("b", "completed"), "c": job("c", "active")}
    left = merged(RECORD, events, {})
    record = again(left, 2, "8", 5.0)
    facts = ("state", "batch", "array", "started", "ended", "error")
    assert [record[name] for name in facts] == ["queued", "8", 2, 5.0, None, None]
    assert [(each["state"], each["element"]) for each in record["jobs"]] == [
        ("queued", 0),
        ("completed", 1),
        ("queued", 1),
    ]
    assert not all_ended(record, {})
    after = merged(record, {name: job(name, "completed") for name in "ac"}, {})
    assert (after["state"], after["error"]) == ("completed", None)


def test_a_script_is_written_again_for_fewer_elements() -> None:
    text = GOLDEN.read_text()
    changed = set(script_again(text, 7).splitlines()) - set(text.splitlines())
    assert changed == {
        "#SBATCH --array=0-6%10",
        "exec /env/bin/python -m orchestrator.element '/home/me/100% mine' 7",
    }


def test_members_are_dealt_to_elements_and_tell_of_their_ends(tmp_path: Path) -> None:
    write_members(tmp_path, [described(f"m_{n}", tmp_path) for n in range(5)])
    assert [each.name for each in members_of(tmp_path, 1, 2)] == ["m_1", "m_3"]
    for job, state in (("7", "active"), ("7", "completed"), ("6", "failed")):
        append_event(tmp_path, 1, member("m_1", state=state, batch=job))
    with (tmp_path / "elements" / "1.jsonl").open("a") as file:
        file.write('{"name": "m_3", "sta')  # another process is just writing it
    events = read_events(tmp_path, 2, "7")
    assert [(name, facts["state"]) for name, facts in events.items()] == [("m_1", "completed")]
    append_event(tmp_path, 1, member("m_3", state="failed", batch="7"))
    assert [facts["state"] for facts in read_events(tmp_path, 2, "7").values()] == ["completed", "failed"]
    element_log(tmp_path, 0).with_suffix(".jsonl").write_text("garbage\n")
    with pytest.raises(RunError, match=r"element 0 of the run in \S+ tells is damaged"):
        read_events(tmp_path, 2, "7")


def test_members_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"members of the run in .* cannot be read"):
        members_of(tmp_path, 0, 1)
    (tmp_path / "members.jsonl").write_text("garbage\n")
    with pytest.raises(RunError, match=r"members of the run in .* cannot be read"):
        members_of(tmp_path, 0, 1)


def test_outside_of_an_array_there_is_no_element(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_JOB_ID"):
        assert main(str(tmp_path), "3") == 1
        assert f"there is no {name}" in capsys.readouterr().err
        monkeypatch.setenv(name, "0")
    assert main(str(tmp_path), "3") == 1
    assert "cannot be read" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
