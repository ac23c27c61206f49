"""What the elements of a job array read and write: a list of members, and what has become of each.

`members.jsonl` has a line for each member; element k of N runs every N-th of them, from the k-th on. It
appends a line to `elements/k.jsonl` whenever one of its members starts or ends, so no two write to one
file, and there is no driver that could. Whoever asks for the run puts these lines in place of those of
`run.json`. Each line names the job of its array: what an earlier array of the run has told counts no more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.entries import JobEntry, MemberEntry, damage
from orchestrator.errors import RunError
from orchestrator.schedulers.base import JobStatus

MEMBERS = "members.jsonl"
ELEMENTS = "elements"
SHOWN = 5
COMPLETED = "completed"
Facts = dict[str, Any]


def write_members(directory: Path, members: Sequence[Facts]) -> None:
    """Write what the elements of a run are to do.

    Raises:
        OSError: it cannot be written.
    """
    (directory / ELEMENTS).mkdir(exist_ok=True)
    (directory / MEMBERS).write_text("".join(json.dumps(member, default=str) + "\n" for member in members))


def forget_events(directory: Path) -> None:
    """Remove what became of members; the record has it.

    Raises:
        OSError: it cannot be removed.
    """
    for file in (directory / ELEMENTS).glob("*.jsonl"):
        file.unlink()


def members_of(directory: Path, element: int = 0, elements: int = 1) -> list[MemberEntry]:
    """Return the members that one of the elements runs, in their order; all by default.

    Raises:
        RunError: they cannot be read.
    """
    try:
        lines = (directory / MEMBERS).read_bytes().splitlines()
        return [MemberEntry.model_validate_json(line) for line in lines[element::elements]]
    except (OSError, ValidationError) as error:
        wrong = damage(error) if isinstance(error, ValidationError) else error
        raise RunError(f"the members of the run in {directory} cannot be read: {wrong}") from error


def element_log(directory: Path, element: int | str) -> Path:
    """What an element prints itself, beside its members, who have their own logs."""
    return directory / ELEMENTS / f"{element}.txt"


def append_event(directory: Path, element: int, facts: Facts) -> None:
    """Note what has become of a member of an element.

    A half line that is there, of somebody whom a full disk or a kill has stopped, is removed before.

    Raises:
        OSError: it cannot be written, or not all of it.
    """
    left = json.dumps(facts, default=str).encode() + b"\n"
    with (directory / ELEMENTS / f"{element}.jsonl").open("ab+", buffering=0) as file:
        _end_at_a_line(file)
        while left:
            left = left[file.write(left) :]


def read_events(directory: Path, elements: int, job: str) -> dict[str, Facts]:
    """Return what became of members last, by their names. A line that is just being written is left out.

    Args:
        directory: of the run.
        elements: how many there are.
        job: the number of their array.

    Raises:
        RunError: another line is damaged.
    """
    told = (facts for element in range(elements) for facts in _lines(directory, element))
    return {facts["name"]: facts for facts in told if facts.get("batch") == job}


def merged(record: Mapping[str, Any], events: Mapping[str, Facts], alive: Mapping[int, JobStatus]) -> Facts:
    """Return the record of a run as the elements have left it.

    Args:
        record: as it was when the array was submitted.
        events: what became of members.
        alive: where the elements stand that have not ended.
    """
    jobs = [
        _with_end({**job, **events.get(job["name"], {})}, job["element"] in alive) for job in record["jobs"]
    ]
    facts = {**record, "jobs": jobs, "state": _state(jobs)}
    if all(job["ended"] is not None for job in jobs):
        failed = [job["name"] for job in jobs if job["state"] == "failed"]
        facts["ended"] = max(job["ended"] for job in jobs)
        facts["error"] = _told(failed, len(jobs)) if failed else None
    return facts


def all_ended(record: Mapping[str, Any], events: Mapping[str, Facts]) -> bool:
    """Tell whether every member has told of its end."""
    return all(events.get(job["name"], job)["ended"] is not None for job in record["jobs"])


def again(record: Mapping[str, Any], elements: int, job: str, now: float) -> Facts:
    """Return the record of an array that is submitted again for the members that have not completed.

    Args:
        record: as the elements have left it.
        elements: how many there are now.
        job: the number of the new array.
        now: the time, seconds since 1970.
    """
    fresh: Facts = {"state": "queued", "pid": None, "start_time": None, "returncode": None, "reason": None}
    fresh |= {"started": None, "ended": None, "attempts": 0, "batch": job}
    numbers = iter(range(len(record["jobs"])))
    jobs = [
        each if each["state"] == COMPLETED else {**each, **fresh, "element": next(numbers) % elements}
        for each in record["jobs"]
    ]
    facts = {"array": elements, "batch": job, "state": "queued", "error": None, "started": now, "ended": None}
    return {**record, **facts, "jobs": jobs}


def _end_at_a_line(file: FileIO) -> None:
    size = os.fstat(file.fileno()).st_size
    if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
        file.truncate(os.pread(file.fileno(), size, 0).rfind(b"\n") + 1)


def _with_end(job: Facts, alive: bool) -> Facts:
    """Return a member, which is lost where its element has gone without telling of its end."""
    if alive or job["ended"] is not None:
        return job
    return {**job, "state": "lost"}


def _state(jobs: Sequence[Facts]) -> str:
    if any(job["ended"] is None for job in jobs):
        begun = any(job["started"] is not None for job in jobs)
        return "active" if begun else "queued"
    states = {job["state"] for job in jobs}
    return next((state for state in ("failed", "canceled") if state in states), "completed")


def _told(failed: Sequence[str], count: int) -> str:
    more = f" and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return f"{len(failed)} of {count} members have failed: {', '.join(failed[:SHOWN])}{more}"


def _lines(directory: Path, element: int) -> Iterator[Facts]:
    try:
        text = (directory / ELEMENTS / f"{element}.jsonl").read_bytes()
        for line in text.splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield JobEntry.model_validate_json(line).model_dump(exclude_unset=True)
    except FileNotFoundError:
        return
    except (OSError, ValidationError) as error:
        wrong = damage(error) if isinstance(error, ValidationError) else error
        raise RunError(
            f"what the element {element} of the run in {directory} tells is damaged: {wrong}"
        ) from error
