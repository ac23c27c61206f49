"""The picture of a run: truth, prediction and error above; how the error fell, version by version, below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GREY, BLUE, ORANGE = "#22303c", "#8a97a3", "#2b6cb0", "#dd6b20"
TEMPERATURE, DEVIATION = "inferno", "RdBu_r"
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


def draw(
    path: Path,
    example: Mapping[str, np.ndarray],
    history: list[dict[str, Any]],
    coupled: list[dict[str, float]],
    result: dict[str, Any],
) -> None:
    """Write the picture."""
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(11, 7.4), layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=[1.15, 1])
        draw_fields(upper, example)
        draw_learning(lower.subplots(), history, coupled, result)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def draw_fields(figure: Figure, example: Mapping[str, np.ndarray]) -> None:
    """Draw the fields of one jump on a plate that was never trained on."""
    truth, prediction = example["truth"], example["prediction"]
    error = prediction - truth
    axes = figure.subplots(1, 4)
    low, high = min(truth.min(), prediction.min()), max(truth.max(), prediction.max())
    scale = {"cmap": TEMPERATURE, "vmin": low, "vmax": high}
    panels = (
        ("before the jump", example["before"], {"cmap": TEMPERATURE}),
        ("truth: the solver", truth, scale),
        ("prediction: one call", prediction, scale),
        ("error", error, {"cmap": DEVIATION, "vmin": -abs(error).max(), "vmax": abs(error).max()}),
    )
    for axis, (title, field, style) in zip(axes, panels, strict=True):
        image = axis.imshow(field.T, origin="lower", extent=(0, 1, 0, 1), interpolation="bilinear", **style)
        axis.set(title=title, xticks=[], yticks=[])
        bar = figure.colorbar(image, ax=axis, location="bottom", shrink=0.9, aspect=22, label="K")
        bar.outline.set_visible(False)
    axes[0].contour(
        example["source"].T, levels=5, colors="white", linewidths=0.6, alpha=0.7, extent=(0, 1, 0, 1)
    )
    relative = np.linalg.norm(error) / np.linalg.norm(truth)
    figure.suptitle(
        f"A plate the network has never seen (lines: heaters and coolers): {100 * relative:.1f} % error",
        x=0.01,
        ha="left",
        weight="bold",
    )


def draw_learning(
    axis: Axes, history: list[dict[str, Any]], coupled: list[dict[str, float]], result: dict[str, Any]
) -> None:
    """Draw the losses over time, each posted version, and the coupled solver's own error."""
    start = history[0]["unix_time"] - history[0]["seconds"]
    seconds = [line["unix_time"] - start for line in history]
    axis.scatter(
        [jump["unix_time"] - start for jump in coupled],
        [jump["error"] for jump in coupled],
        s=10,
        color=ORANGE,
        alpha=0.45,
        linewidths=0,
        label="coupled solver's error, each call answered by the newest version",
    )
    axis.plot(seconds, [line["loss"] for line in history], color=GREY, lw=1, label="training loss")
    axis.plot(seconds, [line["validation"] for line in history], color=BLUE, lw=1.8, label="held-out members")
    posted = [(second, line) for second, line in zip(seconds, history, strict=True) if line["version"]]
    axis.plot(
        [second for second, _ in posted],
        [line["validation"] for _, line in posted],
        "o",
        color=BLUE,
        ms=6,
        mec="white",
        label="posted to the database",
    )
    every = max(1, len(posted) // 12)
    for index, (second, line) in enumerate(posted):
        if index % every == 0 or index == len(posted) - 1:
            label = f"v{line['version']}"
            axis.annotate(
                label, (second, line["validation"]), (0, 9), textcoords="offset points", ha="center", size=8
            )
    axis.axhline(result["persistence_error"], color=INK, lw=1, ls=":")
    axis.annotate(
        "nothing changes (persistence)",
        (0.005, result["persistence_error"]),
        (0, 4),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        size=9,
    )
    axis.set(yscale="log", xlabel="seconds since the trainer started", ylabel="relative L2 error")
    axis.set_ylim(top=4 * result["persistence_error"])  # room for the legend; after the scale is set
    axis.set_title(
        f"Learning beside {result['solvers']} running solvers: {result['snapshots']} snapshots, "
        f"{result['versions_posted']} versions posted, {result['versions_answered']} of them answered",
        weight="bold",
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.25)
    axis.legend(frameon=False, loc="upper right", ncols=2, fontsize=9)
