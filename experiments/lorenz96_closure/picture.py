"""The picture of a run: X over circle and time above; its density, and how that misses the truth's, below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from climate import EDGES, Collected
from fits import NONE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from names import MODEL

INK, GREY, BLUE, ORANGE, GREEN, RED = "#22303c", "#8a97a3", "#2b6cb0", "#dd6b20", "#2f855a", "#c53030"
STYLE = {
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
LINES = {
    NONE: ("no closure", RED, "-"),
    "linear": ("line", ORANGE, "--"),
    "cubic": ("cubic", GREEN, "-."),
    MODEL: ("network in the database", BLUE, "-"),
}


def draw(
    path: Path,
    climates: dict[str, Collected | None],
    truth: Collected,
    result: dict[str, Any],
    every: float,
) -> None:
    """Write the picture."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(11, 7.4), layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.05])
        draw_strips(upper, climates, truth, every)
        left, right = lower.subplots(1, 2)
        draw_densities(left, climates, truth)
        draw_differences(right, climates, truth, result)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def draw_strips(
    figure: Figure, climates: dict[str, Collected | None], truth: Collected, every: float
) -> None:
    """Draw X around the circle over time: states of three runs, each from a beginning of its own."""
    strips = [("truth, with its fast variables", truth), ("no closure", climates[NONE])]
    strips.append(("network, asked at each step", climates[MODEL]))
    axes = figure.subplots(1, 3, sharey=True)
    low, high = truth.strip.min(), truth.strip.max()
    for axis, (title, climate) in zip(axes, strips, strict=True):
        if climate is None:
            axis.set(title=f"{title}: blew up", xticks=[])
            continue
        steps, points = climate.strip.shape
        extent = (0, points, 0, steps * every)
        image = axis.imshow(
            climate.strip, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high, extent=extent
        )
        axis.set(title=title, xlabel="k")
    axes[0].set_ylabel("time units")
    figure.colorbar(image, ax=axes, label="X", aspect=30).outline.set_visible(False)
    figure.suptitle(
        "The whole system, and the coarse solver without and with the network",
        x=0.01,
        ha="left",
        weight="bold",
    )


def draw_densities(axis: Axes, climates: dict[str, Collected | None], truth: Collected) -> None:
    """Draw the density of X by each closure over the truth's."""
    axis.stairs(truth.density, EDGES, fill=True, color=GREY, alpha=0.35, label="truth")
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    for name, (label, colour, line) in LINES.items():
        climate = climates[name]
        if climate is not None:
            axis.plot(middle, climate.density, color=colour, ls=line, lw=1.4, label=label)
    axis.set(xlabel="X", ylabel="density", xlim=span(truth), title="How often X has which value")
    finish(axis)


def draw_differences(
    axis: Axes, climates: dict[str, Collected | None], truth: Collected, result: dict[str, Any]
) -> None:
    """Draw by how much each density misses the truth's; that without closure would not fit in."""
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    axis.axhline(0, color=GREY, lw=1)
    for name, (label, colour, line) in LINES.items():
        climate, distance = climates[name], result["hellinger"][name]
        if climate is None or name == NONE:
            continue
        label = f"{label}: {distance:.4f}"
        difference = 1e3 * (climate.density - truth.density)
        axis.plot(middle, difference, color=colour, ls=line, lw=1.4, label=label)
    others = [climate for name, climate in climates.items() if climate is not None and name != NONE]
    largest = 1e3 * max(np.abs(climate.density - truth.density).max() for climate in others)
    axis.set_ylim(-1.2 * largest, 1.9 * largest)  # room for the legend
    none, floor = (result["hellinger"][name] for name in (NONE, "floor"))
    axis.set(xlabel="X", ylabel="density less the truth's, 1/1000", xlim=span(truth))
    axis.set_title(
        "By how much densities miss the truth's\n"
        f"(Hellinger distance: no closure {none:.2f}, truth and truth {floor:.4f})"
    )
    finish(axis)


def span(truth: Collected) -> tuple[float, float]:
    """Return between which X the truth is found."""
    found = np.flatnonzero(truth.counts)
    return EDGES[found[0]] - 3, EDGES[found[-1] + 1] + 3


def finish(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.25)
    axis.legend(frameon=False, loc="upper right", fontsize=8.5)
