"""Run the benchmarks: `python -m tests.bench [--quick] [NAME …]`.

Each writes bench-results/<name>.json and prints its table. Nothing here passes or fails by a time. On a
machine that does other things too, `nice -n -20` in front keeps them from the processor, and `chrt --fifo 1`
keeps them out of the delays that `--part stores` measures.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.bench_inference import PARTS, plot
from tests.bench.measure import write
from tests.bench.own_python import PEERS
from tests.bench.report import write_report

WIDE = 150
NAMES = (
    "start",
    "launch",
    "transfer",
    "clients",
    "shared",
    "solver",
    "cluster",
    "memory",
    "inference",
    "buffers",
    "feed",
)


def main() -> None:
    """Run what was asked for, everything by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="three rounds, one server")
    parser.add_argument("--part", action="append", default=[], help=f"of inference: {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="directory for the JSON")
    parser.add_argument("--report", action="store_true", help="tables and plots of what was measured before")
    parser.add_argument(
        "--get-peers", action="store_true", help="install Parsl, ADIOS2 and Dragon, in Pythons of their own"
    )
    asked = parser.parse_args()
    if asked.get_peers:
        for peer in PEERS:
            print(f"installing {', '.join(peer.packages)} in {peer.directory} …", flush=True)
            peer.make()
        return
    if asked.report:
        print("\n".join(map(str, write_report(asked.out))) or f"there are no results in {asked.out}")
        return
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if unknown := set(asked.part) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in asked.names or NAMES:
        print(f"measuring {name} …", flush=True)
        bench = importlib.import_module(f"tests.bench.bench_{name}")
        report = bench.run(asked.quick, *([asked.part] if name == "inference" else []))
        path = write(asked.out, name, report)
        show(name, report)
        picture = plot(report, asked.out) if name == "inference" else None
        print(f"written to {path}{f' and {picture}' if picture else ''}", flush=True)


def show(title: str, report: dict[str, Any]) -> None:
    """Print one table for each comparison in a report, however deep it lies."""
    if "skipped" in report:
        print(f"{title}: not measured. {report['skipped']}")
        return
    if "series" not in report:
        for label, part in report.items():
            if isinstance(part, dict):
                show(f"{title}, {label}", part)
        return
    if "reference" not in report:
        _show_rows(title, report["series"])
        return
    table = Table("series", "µs", "CPU µs", f"× {report['reference']}", "95 % interval", title=title)
    for row in report["series"]:
        interval = f"{row['ratio_low']:.2f} – {row['ratio_high']:.2f}"
        table.add_row(
            row["name"], f"{row['wall_us']:.1f}", f"{row['cpu_us']:.1f}", f"{row['ratio']:.2f}", interval
        )
    Console().print(table)
    print(f"{report['rounds']} rounds, {report['dropped']} dropped for drift")


def _show_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of figures that are no ratios to one reference."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{each:.3g}" if isinstance(each, float) else str(each) for each in row.values()))
    Console(width=WIDE).print(table)


if __name__ == "__main__":
    main()
