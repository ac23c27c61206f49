"""Truth, prediction and error of the specimens, side by side on the same colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.report.chart import Chart, Point, Series
from orchestrator.report.markup import Markup, e, join
from orchestrator.report.pictures import field_picture, limits
from orchestrator.report.reading import Specimen
from orchestrator.report.scales import short

Array = npt.NDArray[np.floating[Any]]


def fields(specimens: Sequence[Specimen]) -> Markup:
    """Return the last version's fields, and below how the first sample looked to the versions before.

    Args:
        specimens: by version, at least one.
    """
    last = specimens[-1]
    rows = [_sample(last, number) for number in range(len(last.truth))]
    return join(e("p", _told(last), class_="note"), *rows, _versions(specimens))


def relative_error(truth: Array, prediction: Array) -> float:
    """Return the relative L2 error; infinite where the truth is 0 everywhere and the prediction is not."""
    with np.errstate(over="ignore", invalid="ignore"):
        error, norm = float(np.linalg.norm(prediction - truth)), float(np.linalg.norm(truth))
    if norm == 0:
        return 0.0 if error == 0 else float("inf")
    return error / norm


def flat(field: Array) -> tuple[Array, str]:
    """Return a field as one line or one plane, and which part of it that is.

    Directions of one point are left out. Of more than two directions the middle of the first ones is taken.
    """
    plane = field.reshape([points for points in field.shape if points > 1] or [1])
    cuts = []
    while plane.ndim > 2:
        cuts.append(f"{len(plane) // 2} of 0 to {len(plane) - 1}")
        plane = plane[len(plane) // 2]
    return plane, f"cut at index {', '.join(cuts)} of the first directions" if cuts else ""


def _told(specimen: Specimen) -> str:
    units = f", {specimen.units}" if specimen.units else ""
    size = " × ".join(map(str, specimen.shape)) or "one number"
    thinned = f"; every {specimen.stride}. point in each direction is kept" if specimen.stride > 1 else ""
    plane, part = flat(specimen.truth[0])
    cut = f"; {part}" if part else ""
    way = "; the first index goes down, the second to the right" if plane.ndim == 2 else ""
    return (
        f"{specimen.field} ({size}{units}) of samples that the network never learned from, by version "
        f"{specimen.version}{thinned}{cut}{way}."
    )


def _sample(specimen: Specimen, number: int) -> Markup:
    truth, _ = flat(specimen.truth[number])
    prediction, _ = flat(specimen.prediction[number])
    error = relative_error(specimen.truth[number], specimen.prediction[number])
    with np.errstate(invalid="ignore"):
        difference = prediction - truth
    heading = e("h3", f"Sample {number + 1}", e("small", f"relative L2 error {100 * error:.3g} %"))
    if truth.ndim == 1:
        return join(heading, _lines(specimen, truth, prediction, difference))
    low, high = limits([truth, prediction])
    least, greatest = limits([difference])
    most = max(abs(least), abs(greatest))
    return join(
        heading,
        e(
            "div",
            field_picture("truth", truth, low, high, specimen.units, signed=False),
            field_picture("prediction", prediction, low, high, specimen.units, signed=False),
            field_picture("prediction − truth", difference, -most, most, specimen.units, signed=True),
            class_="fields",
        ),
    )


def _lines(specimen: Specimen, truth: Array, prediction: Array, difference: Array) -> Markup:
    def points(values: Array) -> list[Point]:
        return [Point(float(at * specimen.stride), float(value)) for at, value in enumerate(values)]

    label = f"{specimen.field}{f', {specimen.units}' if specimen.units else ''}"
    dots = "disc" if len(truth) < 3 else "line"
    both = [
        Series("truth", points(truth), 1, dots),
        Series("prediction", points(prediction), 2, "cross" if len(truth) < 3 else "dashes"),
    ]
    error = [Series("prediction − truth", points(difference), 2, dots)]
    return e(
        "div",
        Chart("truth and prediction", "index", label, both).markup(),
        Chart("error", "index", label, error).markup(),
        class_="charts",
    )


def _versions(specimens: Sequence[Specimen]) -> Markup | None:
    """Return the prediction of the first sample by each version that there is, where fields are planes."""
    planes = [(one, first_plane(one.truth), first_plane(one.prediction)) for one in specimens]
    if len(specimens) < 2 or any(truth.ndim != 2 for _, truth, _ in planes):
        return None
    low, high = limits([each for _, truth, prediction in planes for each in (truth, prediction)])
    pictures = [
        field_picture(
            f"version {one.version}: {short(100 * relative_error(one.truth[0], one.prediction[0]))} % off",
            prediction,
            low,
            high,
            one.units,
            signed=False,
        )
        for one, _, prediction in planes
    ]
    return e(
        "details",
        e("summary", f"Sample 1 as {len(specimens)} versions predicted it"),
        e("div", *pictures, class_="fields"),
    )


def first_plane(samples: Array) -> Array:
    """Return the first of some fields as `flat` does."""
    return flat(samples[0])[0]
