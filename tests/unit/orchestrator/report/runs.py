"""Run directories as a driver and its trainer leave them, and what a page about one shows."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

BEGAN = 1_700_000_000.0
VOID = ("meta", "img")


def job(name: str, **facts: Any) -> dict[str, Any]:
    """Return a program of a record."""
    known = {
        "name": name,
        "command": ["python"],
        "pid": None,
        "start_time": None,
        "cores": None,
        "gpus": None,
    }
    known |= {"cores": None, "gpus": None, "state": "completed", "returncode": 0, "log": name}
    known |= {"started": BEGAN + 1, "ended": BEGAN + 50}
    return {**known, **facts}


def write_run(directory: Path, jobs: list[dict[str, Any]], **facts: Any) -> None:
    """Write the record of a run that lasted a minute."""
    known = {"run": "toy-1", "experiment": "toy", "state": "completed", "error": None, "host": "elsewhere"}
    known |= {"directory": str(directory), "runtime": str(directory), "driver": None, "address": None}
    known |= {"started": BEGAN, "ended": BEGAN + 60}
    directory.mkdir(exist_ok=True)
    (directory / "run.json").write_text(json.dumps({**known, **facts, "jobs": jobs}))


def judgement(step: int, validation: float, version: int | None = None, **facts: Any) -> dict[str, Any]:
    """Return a line of a history, of so many seconds after the run began as there were steps."""
    known = {"unix_time": BEGAN + step, "seconds": float(step), "step": step, "samples": 10 * step}
    known |= {"unseen": step, "snapshots": 12 * step, "announced": 15 * step, "loss": validation / 2}
    return {**known, "age_median": 3.0, "age_p90": 8.0, "validation": validation, "version": version, **facts}


def write_history(directory: Path, lines: list[dict[str, Any]]) -> None:
    """Write a history into the directory of a trainer."""
    directory.mkdir(exist_ok=True)
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_specimen(directory: Path, version: int, truth: Any, prediction: Any, **facts: Any) -> Path:
    """Write the specimens of a version."""
    known = {"field": "T", "units": "K", "stride": 1, "shape": np.array(np.shape(truth)[1:], int)}
    (directory / "specimens").mkdir(parents=True, exist_ok=True)
    path = directory / "specimens" / f"{version}.npz"
    np.savez_compressed(path, truth=truth, prediction=prediction, **{**known, **facts})
    return path


class Page(HTMLParser):
    """A page, taken apart: its texts, the addresses it names, its charts; every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.charts: dict[str, dict[str, list[list[float]]]] = {}
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"
        self.svgs = [ET.fromstring(each) for each in _svgs(text)]
        self.text = " ".join(self.words)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")
        ]
        if "data-series" in facts:
            series = json.loads(facts["data-series"] or "")
            title = (facts["aria-label"] or "").partition(":")[0]
            self.charts[title] = {each["name"]: [point[2:] for point in each["points"]] for each in series}
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> within {self._open}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)


def _svgs(text: str) -> list[str]:
    return [each.partition("</svg>")[0] + "</svg>" for each in _after(text, "<svg")]


def _after(text: str, mark: str) -> list[str]:
    return [mark + each for each in text.split(mark)[1:]]
