"""FIFO, FIRO and reservoir at the same budget: `python experiments/heat_surrogate/compare_buffers.py`.

No database and no clock: in every tick so many samples come from the solvers, and the trainer may make one
gradient step, if its buffer lets it. So the machine's load changes nothing: every buffer meets the same
samples in the same order, starts from the same network and has the same time. Solvers are slow (one sample
in a tick, an eighth of a batch) or fast (a batch in a tick).

Prints a table and writes buffers.json and buffers.png.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from heat import Member, Plate
from network import HeatJump
from rich.console import Console
from rich.table import Table

from sim_clients.fields import Array
from trainers import buffer_named
from trainers.batches import Batch, batch_of
from trainers.samples import Sample
from trainers.train import Training, gradient_step, judge, schedule

mpl.use("Agg")

import matplotlib.pyplot as plt

PLATE = Plate(points=40, jump_steps=200, jump_time=1.5, least_diffusivity=0.005, greatest_diffusivity=0.015)
"""The plate of the quick run, with as few solver steps as are stable."""
BUFFERS = ("fifo", "firo", "reservoir")
COLORS = {"fifo": "#dd6b20", "firo": "#8a97a3", "reservoir": "#2b6cb0"}
ARRIVALS = {"slow solvers: a sample in a tick": 1, "fast solvers: a batch in a tick": 8}
MEMBERS, WAVE_JUMPS, CAPACITY, WATERMARK, BATCH, EXAMINED = 4, 8, 1000, 64, 8, 8
TRAINING = Training(
    model="heat",
    producers=("heat",),
    held_out=("examined",),
    inputs=("u", "source", "diffusivity"),
    target="u",
    jump=PLATE.jump_steps,
    steps=1,
    seconds=1,
    learning_rate=1.5e-2,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ticks", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path(), help="directory for the picture and the numbers")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = compared(range(given.seeds), given.ticks)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "buffers.json").write_text(json.dumps(runs, indent=1))
    draw(given.out / "buffers.png", runs)
    Console(width=110).print(summary(runs))


def compared(seeds: Sequence[int], ticks: int) -> list[dict[str, Any]]:
    """Train once for each seed, speed of the solvers and buffer."""
    examined = batch_of([sample for seed in range(EXAMINED) for sample in wave(Member(PLATE, 10_000 + seed))])
    runs = []
    for seed in seeds:
        samples = list(stream(seed, ticks * max(ARRIVALS.values())))
        for solvers, arrivals in ARRIVALS.items():
            for name in BUFFERS:
                run = trained(name, samples[: ticks * arrivals], arrivals, seed, examined)
                runs.append({"seed": seed, "solvers": solvers, "buffer": name, **run})
                errors = [100 * run["errors"][-1], run["steps"]]
                print(
                    f"seed {seed}, {solvers}, {name}: {errors[0]:.2f} % after {errors[1]} steps", flush=True
                )
    return runs


def stream(seed: int, count: int) -> Iterator[Sample]:
    """Yield samples of some members, jump by jump, as they come from members that run side by side."""
    number, yielded = 0, 0
    while True:
        waves = [wave(Member(PLATE, 100 * (seed + 1) + member, number)) for member in range(MEMBERS)]
        for samples in zip(*waves, strict=True):
            for sample in samples:
                if yielded == count:
                    return
                yielded += 1
                yield sample
        number += 1


def wave(member: Member) -> Iterator[Sample]:
    """Yield the jumps of one plate."""
    u = member.initial
    for _ in range(WAVE_JUMPS):
        source = member.next_source()
        later = member.advance(u, source)
        fields = {"u": u, "source": source, "diffusivity": np.array([member.diffusivity]), "u_next": later}
        yield {name: single(field) for name, field in fields.items()}
        u = later


def single(field: Array) -> Array:
    return field.astype(np.float32)


def trained(
    name: str, samples: Sequence[Sample], arrivals: int, seed: int, examined: Batch
) -> dict[str, Any]:
    """Train a network from a buffer; return how its error on unseen plates fell."""
    torch.manual_seed(seed)
    network = HeatJump(PLATE, modes=7, width=12, depth=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=TRAINING.learning_rate)
    buffer = buffer_named(name, CAPACITY, watermark=WATERMARK, seed=seed)
    waiting: deque[Sample] = deque()
    ticks, steps, errors, at = len(samples) // arrivals, 0, [], []
    for tick in range(ticks):
        waiting.extend(samples[tick * arrivals : (tick + 1) * arrivals])
        for _ in range(min(buffer.room(), len(waiting))):
            buffer.add(waiting.popleft())
        if buffer.ready(BATCH):
            optimizer.param_groups[0]["lr"] = TRAINING.learning_rate * schedule(tick / ticks)
            gradient_step(network, optimizer, batch_of(buffer.sample(BATCH)), TRAINING)
            steps += 1
        if (tick + 1) % max(1, ticks // 20) == 0:
            at.append(tick + 1)
            errors.append(judge(network, examined, TRAINING))
    return {"ticks": at, "errors": errors, "steps": steps, "samples": len(samples) - len(waiting)}


def of(runs: list[dict[str, Any]], solvers: str, name: str) -> list[dict[str, Any]]:
    """Return the runs with these solvers and this buffer, one for each seed."""
    return [run for run in runs if (run["solvers"], run["buffer"]) == (solvers, name)]


def summary(runs: list[dict[str, Any]]) -> Table:
    """Return the table of the last errors: median, least and greatest of the seeds."""
    table = Table("solvers", "buffer", "steps", "samples", "error, median", "least", "greatest")
    for solvers in ARRIVALS:
        for name in BUFFERS:
            found = of(runs, solvers, name)
            last = [100 * run["errors"][-1] for run in found]
            figures = [f"{value:.2f} %" for value in (np.median(last), min(last), max(last))]
            table.add_row(solvers, name, str(found[0]["steps"]), str(found[0]["samples"]), *figures)
    return table


def draw(path: Path, runs: list[dict[str, Any]]) -> None:
    """Draw how the errors fell: the median of the seeds as a line, all of them as a band."""
    figure, axes = plt.subplots(1, len(ARRIVALS), figsize=(10, 4), sharey=True, layout="constrained")
    for axis, solvers in zip(axes, ARRIVALS, strict=True):
        for name in BUFFERS:
            found = of(runs, solvers, name)
            errors = np.array([run["errors"] for run in found])
            ticks, color = found[0]["ticks"], COLORS[name]
            label = f"{name}, {found[0]['steps']} steps"
            axis.plot(ticks, np.median(errors, axis=0), color=color, lw=1.8, label=label)
            axis.fill_between(ticks, errors.min(0), errors.max(0), color=color, alpha=0.2, lw=0)
        axis.set(yscale="log", xlabel="ticks: time for one gradient step each")
        axis.set_title(solvers, loc="left", size=11)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25)
        axis.legend(frameon=False)
    axes[0].set_ylabel("relative L2 error on unseen plates")
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
