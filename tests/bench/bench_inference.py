"""Inference in the database: latency, throughput, what neighbours notice, and storing models.

Each part compares with its own limit: libtorch in a process, redis-benchmark's GET, PING beside nothing, SET
of the same bytes. `bench-results/inference.png` draws the throughput.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tests.bench.inference import beside, engines, latency, load, stores, throughput

PARTS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "latency": latency.measure,
    "engines": engines.measure,
    "throughput": throughput.measure,
    "cnn": throughput.measure_cnn,
    "beside": beside.measure,
    "stores": stores.measure,
}


def run(quick: bool, parts: Collection[str] = ()) -> dict[str, Any]:
    """Measure some parts, all by default.

    Raises:
        SystemExit: there is no redis-benchmark.
    """
    if shutil.which(load.PROGRAM) is None:
        raise SystemExit(f"{load.PROGRAM} is not on PATH: apt install redis-tools")
    report = {}
    for name in parts or PARTS:
        print(f"  {name} …", flush=True)
        report[name] = PARTS[name](quick)
    return report


def plot(report: dict[str, Any], directory: Path) -> Path | None:
    """Draw the throughput by number of clients; None where it was not measured."""
    if "throughput" not in report:
        return None
    figure = Figure(figsize=(11, 4))
    axes = figure.subplots(1, len(report["throughput"]), sharey=True, squeeze=False)
    for axis, (placement, by_clients) in zip(axes[0], report["throughput"].items(), strict=True):
        clients = [int(label.split()[0]) for label in by_clients]
        names = [row["name"] for row in next(iter(by_clients.values()))["series"]]
        for i, name in enumerate(names):
            rates = [1e6 / each["series"][i]["wall_us"] for each in by_clients.values()]
            axis.plot(clients, rates, marker="o", label=name, linestyle="--" if "BATCH" in name else "-")
        axis.set(title=placement, xlabel="clients", xscale="log", yscale="log")
    axes[0][0].set_ylabel("answers per second")
    axes[0][-1].legend(fontsize="small")
    figure.tight_layout()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "inference.png"
    figure.savefig(path, dpi=120)
    return path
