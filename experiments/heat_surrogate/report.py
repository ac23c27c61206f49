"""What a run has reached: result.json, the table, the picture, and whether every bar was taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from names import EXAMPLE, REPORT
from picture import draw
from rich.console import Console
from rich.table import Table

from orchestrator import PenstockError
from orchestrator.record import run_at
from orchestrator.report import write_report
from trainers.history import read_history

LABELS = {
    "relative_error": "error on unseen plates, mean",
    "persistence_error": "error of persistence (nothing changes)",
    "versions_while_solvers_ran": "versions posted while solvers ran",
    "versions_answered": "versions that answered",
    "inference_ms_median": "inference, median, ms",
    "jumps_before_a_model": "jumps before the first version",
    "solvers": "solvers learned and judged from",
}
"""How the table calls what is not well called by its key in result.json."""

RESULT, PICTURE, TABLE = "result.json", "picture.png", "summary.txt"


class BarMissed(PenstockError):
    """The run went through and did not reach what it had to."""

    def __init__(self, missed: dict[str, str], result: Path) -> None:
        super().__init__(f"the run missed {', '.join(missed.values())}; see {result}")
        self.missed = missed
        self.result = result


def report(run_dir: Path, bars: dict[str, float], solvers: list[str]) -> None:
    """Measure a finished run, write and show everything.

    Raises:
        BarMissed: naming each bar and what was measured.
    """
    history = read_history(run_dir / "trainer")
    result = measured(run_dir, history, solvers)
    missed = missed_bars(result, bars)
    result |= {"bars": bars, "passed": not missed}
    (run_dir / RESULT).write_text(json.dumps(result, indent=1))
    coupled = read(run_dir, "coupled")["jumps"]
    with np.load(run_dir / "evaluation" / EXAMPLE) as example:
        draw(run_dir / PICTURE, example, history, coupled, result)
    page = write_report(run_at(run_dir))
    show(run_dir, result, bars, missed)
    print(f"the whole run on a page: {page}")
    if missed:
        raise BarMissed(missed, run_dir / RESULT)


def read(run_dir: Path, program: str) -> dict[str, Any]:
    """Return what a program of the run has measured."""
    found: dict[str, Any] = json.loads((run_dir / program / REPORT).read_text())
    return found


def measured(run_dir: Path, history: list[dict[str, Any]], solvers: list[str]) -> dict[str, Any]:
    """Return the numbers of a run, each from what its programs have written."""
    reports = [read(run_dir, solver) for solver in solvers]
    coupled, evaluation = read(run_dir, "coupled"), read(run_dir, "evaluation")
    posted = [line for line in history if line["version"]]
    first_end = min(solver["ended"] for solver in reports)
    error, persistence = np.mean(evaluation["errors"]), np.mean(evaluation["persistence"])
    answered = sorted({int(jump["version"]) for jump in coupled["jumps"]})
    return {
        "relative_error": float(error),
        "persistence_error": float(persistence),
        "times_better_than_persistence": float(persistence / error),
        "last_version": evaluation["version"],
        "versions_posted": len(posted),
        "versions_while_solvers_ran": sum(line["unix_time"] < first_end for line in posted),
        "versions_answered": len(answered),
        "answered_by": answered,
        "inferences": len(coupled["jumps"]) + len(evaluation["errors"]),
        "inferences_failed": coupled["failed"],
        "jumps_before_a_model": coupled["without_model"],
        "inference_ms_median": 1e3 * float(np.median([jump["inference_s"] for jump in coupled["jumps"]])),
        "snapshots": sum(solver["snapshots"] for solver in reports),
        "training_steps": history[-1]["step"],
        "solvers": len(reports),
    }


def missed_bars(result: dict[str, Any], bars: dict[str, float]) -> dict[str, str]:
    """Return a sentence for each bar that was not taken."""
    missed = {
        name: f"{name} >= {bars[name]:g} ({result[name]:.3g} was reached)"
        for name in ("versions_while_solvers_ran", "versions_answered", "times_better_than_persistence")
        if not result[name] >= bars[name]
    }
    if not result["relative_error"] < bars["relative_error"]:
        bar, reached = bars["relative_error"], result["relative_error"]
        missed["relative_error"] = f"relative_error < {bar:g} ({reached:.3g} was reached)"
    if result["inferences_failed"]:
        missed["inferences_failed"] = f"inferences_failed = 0 ({result['inferences_failed']} failed)"
    return missed


def show(run_dir: Path, result: dict[str, Any], bars: dict[str, float], missed: dict[str, str]) -> None:
    """Print the table and write it beside the result; name the files."""
    table = summary(result, bars, missed)
    Console().print(table)
    with (run_dir / TABLE).open("w") as file:
        Console(file=file, width=100).print(table)
    for name in (PICTURE, TABLE, RESULT):
        print(f"{name:12s} {run_dir / name}")
    if not missed:
        error, better = 100 * result["relative_error"], result["times_better_than_persistence"]
        print(
            f"every bar was taken: the network is {error:.1f} % off on plates it has never seen, "
            f"{better:.0f} times better than persistence"
        )


def summary(result: dict[str, Any], bars: dict[str, float], missed: dict[str, str]) -> Table:
    """Return the table of what was reached and what had to be."""
    table = Table(title="heat_surrogate", title_justify="left")
    for heading, side in (("measured", "left"), ("value", "right"), ("bar", "right"), ("", "left")):
        table.add_column(heading, justify=side)
    limits = {
        "relative_error": f"< {100 * bars['relative_error']:g} %",
        "times_better_than_persistence": f">= {bars['times_better_than_persistence']:g}",
        "versions_while_solvers_ran": f">= {bars['versions_while_solvers_ran']:g}",
        "versions_answered": f">= {bars['versions_answered']:g}",
        "inferences_failed": "0",
    }
    for name, value in result.items():
        if name in ("bars", "passed", "answered_by"):
            continue
        verdict = "" if name not in limits else ("[red]missed" if name in missed else "[green]ok")
        table.add_row(
            LABELS.get(name, name.replace("_", " ")), text_of(name, value), limits.get(name, ""), verdict
        )
    return table


def text_of(name: str, value: float) -> str:
    """Return a number as a reader wants it."""
    if name.endswith("_error"):
        return f"{100 * value:.2f} %"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
