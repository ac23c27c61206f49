"""What a run has reached: result.json, the table, the picture, and whether every bar was taken."""

from __future__ import annotations

import json
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from climate import Collected, hellinger, load
from fits import DEGREES, NONE
from names import CLIMATE, MODEL, REPORT
from picture import draw
from rich.console import Console
from rich.table import Table

from orchestrator import PenstockError
from trainers.history import read_history

AT_LEAST = (
    "versions_answered",
    "versions_while_coupled",
    "worse_gone_back_from",
    "horizons",
    "times_better_than_none",
    "times_better_than_linear",
)
AT_MOST = ("unexplained_against_linear", "mean_error", "variance_error")
LABELS = {
    "times_better_than_none": "distance without closure / network's",
    "times_better_than_linear": "distance of the line / network's",
    "times_better_than_cubic": "distance of the cubic / network's",
    "unexplained_against_linear": "unexplained variance of B, network's / line's",
    "mean_error": "mean of X, off by (in deviations)",
    "variance_error": "variance of X, off by (share)",
    "horizons": "stable for, in training horizons",
    "versions_posted": "versions posted, without the worse one",
    "versions_answered": "versions that answered, the worse one too",
    "versions_while_coupled": "versions posted while coupled",
    "gone_back_from": "versions gone back from, the worse one too",
    "worse_gone_back_from": "of the worse one that was posted",
}
"""How the table calls what is not well called by its key in result.json."""

RESULT, PICTURE, TABLE = "result.json", "picture.png", "summary.txt"


class BarMissed(PenstockError):
    """The run went through and did not reach what it had to."""

    def __init__(self, missed: dict[str, str], result: Path) -> None:
        super().__init__(f"the run missed {', '.join(missed.values())}; see {result}")
        self.missed = missed
        self.result = result


def report(run_dir: Path, config: dict[str, Any], solvers: list[str], references: list[str]) -> None:
    """Measure a finished run, write and show everything.

    Raises:
        BarMissed: naming each bar and what was measured.
    """
    bars = config["bars"]
    climates, truths = climates_of(run_dir), [load(run_dir / name / CLIMATE) for name in references]
    result = measured(run_dir, solvers) | {"horizons": config["coupled"]["horizons"]}
    result |= compared(climates, truths)
    missed = missed_bars(result, bars)
    result |= {"bars": bars, "passed": not missed}
    (run_dir / RESULT).write_text(json.dumps(result, indent=1))
    draw(run_dir / PICTURE, climates, reduce(add, truths), result, config["every"])
    show(run_dir, result, bars, missed)
    if missed:
        raise BarMissed(missed, run_dir / RESULT)


def read(run_dir: Path, program: str) -> dict[str, Any]:
    """Return what a program of the run has measured."""
    found: dict[str, Any] = json.loads((run_dir / program / REPORT).read_text())
    return found


def climates_of(run_dir: Path) -> dict[str, Collected | None]:
    """Return the climate by each closure, None where the solver blew up."""
    blown_up = read(run_dir, "fits")["blown_up"]
    by_fits = {
        name: None if blown_up[name] else load(run_dir / "fits" / f"{name}.npz") for name in (NONE, *DEGREES)
    }
    return {MODEL: load(run_dir / "coupled" / CLIMATE)} | by_fits


def compared(climates: dict[str, Collected | None], truths: list[Collected]) -> dict[str, Any]:
    """Return how far each climate is from the truth's.

    Args:
        truths: of independent runs; the distance of the first half of them from the others is the floor.
    """
    half = len(truths) // 2
    truth = reduce(add, truths)
    floor = hellinger(reduce(add, truths[:half]).density, reduce(add, truths[half:]).density)
    distance = {
        name: 1.0 if climate is None else hellinger(climate.density, truth.density)
        for name, climate in climates.items()
    }
    alive = {name: climate for name, climate in climates.items() if climate is not None} | {"truth": truth}
    ours = alive[MODEL]
    return {
        "hellinger": distance | {"floor": floor},
        "mean": {name: climate.mean for name, climate in alive.items()},
        "variance": {name: climate.variance for name, climate in alive.items()},
        "times_better_than_none": distance[NONE] / distance[MODEL],
        "times_better_than_linear": distance["linear"] / distance[MODEL],
        "times_better_than_cubic": distance["cubic"] / distance[MODEL],
        "mean_error": abs(ours.mean - truth.mean) / truth.variance**0.5,
        "variance_error": abs(ours.variance / truth.variance - 1),
    }


def measured(run_dir: Path, solvers: list[str]) -> dict[str, Any]:
    """Return the numbers of a run that its programs have written."""
    history = read_history(run_dir / "trainer")
    coupled, fits, trainer = (read(run_dir, program) for program in ("coupled", "fits", "trainer"))
    posted = [line for line in history if line["version"]]
    since = coupled["versions"][0]["unix_time"]
    unexplained = fits["unexplained"]
    return {
        "unexplained": unexplained,
        "unexplained_against_linear": unexplained[MODEL] / unexplained["linear"],
        "versions_posted": len(posted),
        "versions_while_coupled": sum(line["unix_time"] > since for line in posted),
        "versions_answered": len({line["version"] for line in coupled["versions"]}),
        "gone_back_from": len(trainer["gone_back_from"]),
        "worse_gone_back_from": trainer["gone_back_from"].count(trainer["worse_version"]),
        "time_coupled_while_learning": coupled["learned_time"],
        "time_by_the_last_version": coupled["free_time"],
        "inferences": coupled["inferences"],
        "snapshots_of_truths": sum(read(run_dir, solver)["snapshots"] for solver in solvers),
        "snapshots_while_coupled": coupled["snapshots"],
        "training_steps": history[-1]["step"],
        "step_us": {
            members: {name: 1e6 * costs[name] for name in ("database", "process", "none")}
            for members, costs in read(run_dir, "cost").items()
        },
    }


def missed_bars(result: dict[str, Any], bars: dict[str, float]) -> dict[str, str]:
    """Return a sentence for each bar that was not taken."""
    missed = {}
    for name, bar in bars.items():
        reached, at_least = result[name], name in AT_LEAST
        if not (reached >= bar if at_least else reached <= bar):
            missed[name] = f"{name} {'>=' if at_least else '<='} {bar:g} ({reached:.3g} was reached)"
    return missed


def show(run_dir: Path, result: dict[str, Any], bars: dict[str, float], missed: dict[str, str]) -> None:
    """Print the tables and write them beside the result; name the files."""
    tables = (summary(result, bars, missed), closures(result), costs(result))
    Console().print(*tables)
    with (run_dir / TABLE).open("w") as file:
        Console(file=file, width=100).print(*tables)
    for name in (PICTURE, TABLE, RESULT):
        print(f"{name:12s} {run_dir / name}")
    if not missed:
        none, linear = result["times_better_than_none"], result["times_better_than_linear"]
        print(
            f"every bar was taken: the climate by the network is {closer(none)} to the truth's than that "
            f"without closure, {closer(linear)} than that by a line"
        )


def closer(times: float) -> str:
    """Say how many times closer to the truth something is, or farther from it."""
    return f"{times:.1f} times closer" if times >= 1 else f"{1 / times:.1f} times farther"


def summary(result: dict[str, Any], bars: dict[str, float], missed: dict[str, str]) -> Table:
    """Return the table of what was reached and what had to be."""
    table = Table(title="lorenz96_closure", title_justify="left")
    for heading, side in (("measured", "left"), ("value", "right"), ("bar", "right"), ("", "left")):
        table.add_column(heading, justify=side)
    for name, value in result.items():
        if name in ("bars", "passed") or isinstance(value, dict):
            continue
        sign = ">=" if name in AT_LEAST else "<="
        bar, verdict = ("", "") if name not in bars else (f"{sign} {bars[name]:g}", verdict_of(name, missed))
        table.add_row(LABELS.get(name, name.replace("_", " ")), text_of(value), bar, verdict)
    return table


def closures(result: dict[str, Any]) -> Table:
    """Return the table of the climates."""
    table = Table(title="the climate of X by each closure", title_justify="left")
    headings = ("closure", "Hellinger distance", "mean", "variance", "unexplained of B")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "closure" else "right")
    names = {MODEL: "network", "linear": "line", "cubic": "cubic", NONE: "none"}
    for name, shown in names.items():
        moments = [f"{result[of][name]:.3f}" if name in result[of] else "-" for of in ("mean", "variance")]
        distance, unexplained = result["hellinger"][name], result["unexplained"][name]
        table.add_row(shown, f"{distance:.4f}", *moments, f"{100 * unexplained:.1f} %")
    mean, variance = result["mean"]["truth"], result["variance"]["truth"]
    floor = result["hellinger"]["floor"]
    table.add_row("truth", f"{floor:.4f} (its halves)", f"{mean:.3f}", f"{variance:.3f}", "")
    return table


def costs(result: dict[str, Any]) -> Table:
    """Return the table of what a step costs."""
    table = Table(title="a step of the coarse solver, median, us", title_justify="left")
    for heading in ("members", "network in the database", "in the process", "no closure"):
        table.add_column(heading, justify="right")
    for members, step in result["step_us"].items():
        table.add_row(members, *(f"{step[name]:.0f}" for name in ("database", "process", "none")))
    return table


def verdict_of(name: str, missed: dict[str, str]) -> str:
    return "[red]missed" if name in missed else "[green]ok"


def text_of(value: float) -> str:
    """Return a number as a reader wants it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
