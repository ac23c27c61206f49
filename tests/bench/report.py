"""Tables in Markdown and plots from the JSON of benchmarks: `python -m tests.bench --report --out DIR`.

A cell is the median of the rounds' ratios to the reference, with its 95 % interval; the reference's own cell
is its time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

BYTES = {
    "4 KB": 4 << 10,
    "32 KB": 32 << 10,
    "256 KB": 256 << 10,
    "1 MB": 1 << 20,
    "4 MB": 4 << 20,
    "64 MB": 64 << 20,
}

Tables = dict[str, dict[str, dict[str, Any]]]
"""Title -> size, or another column -> comparison."""


def write_report(directory: Path) -> list[Path]:
    """Write what can be made from the files there; return the paths."""
    written = []
    for path in sorted(directory.glob("*.json")):
        found = json.loads(path.read_text())
        environment = found.pop("environment")
        tables = _tables(found)
        if not tables:
            continue
        text = "\n".join([f"# {path.stem}", "", _machine(environment), *_markdown(tables)])
        written.append(path.with_suffix(".md"))
        written[-1].write_text(text + "\n")
        if all(label in BYTES for columns in tables.values() for label in columns):
            written.append(path.with_suffix(".png"))
            _plot(tables, written[-1])
    return written


def _machine(environment: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment.items())


def _comparisons(report: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for label, part in report.items():
        if isinstance(part, dict) and "reference" in part:
            yield (*path, label), part
        elif isinstance(part, dict):
            yield from _comparisons(part, (*path, label))


def _tables(report: dict[str, Any]) -> Tables:
    """Put comparisons that differ in their size alone side by side."""
    tables: Tables = {}
    for path, comparison in _comparisons(report):
        sizes = [label for label in path if label in BYTES]
        title = ", ".join(label for label in path if label not in BYTES)
        tables.setdefault(title, {})[sizes[0] if sizes else "ratio"] = comparison
    return tables


def _markdown(tables: Tables) -> Iterator[str]:
    for title, columns in tables.items():
        yield from ("", f"## {title}", "")
        yield " | ".join(["| ", *columns]) + " |"
        yield "|---" * (1 + len(columns)) + "|"
        names = [row["name"] for row in next(iter(columns.values()))["series"]]
        for name in names:
            yield " | ".join([f"| {name}", *(_cell(name, each) for each in columns.values())]) + " |"
        dropped = sum(each["dropped"] for each in columns.values())
        rounds = "/".join(str(each["rounds"]) for each in columns.values())
        yield from ("", f"{rounds} rounds, {dropped} dropped for drift.")


def _cell(name: str, comparison: dict[str, Any]) -> str:
    row = next((each for each in comparison["series"] if each["name"] == name), None)
    if row is None:
        return ""
    if name == comparison["reference"]:
        return f"{row['wall_us']:.4g} µs"
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"


def _plot(tables: Tables, path: Path) -> None:
    """Draw the rate of each series over the size, one panel for each table."""
    columns = 2
    rows = -(-len(tables) // columns)
    figure = Figure(figsize=(11, 3.6 * rows))
    for place, (title, by_size) in enumerate(tables.items()):
        axis = figure.add_subplot(rows, columns, place + 1)
        for i, row in enumerate(next(iter(by_size.values()))["series"]):
            rates = [BYTES[size] / each["series"][i]["wall_us"] * 1e-3 for size, each in by_size.items()]
            sizes = [BYTES[size] for size in by_size]
            axis.plot(sizes, rates, marker="o", label=row["name"], linewidth=2 if i == 0 else 1)
        axis.set(title=title, xscale="log", yscale="log", xlabel="bytes", ylabel="GB/s")
        axis.legend(fontsize="x-small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
