"""Charts of lines and dots, as SVG. What the page's script shows beside the pointer is in `data-series`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from orchestrator.report.markup import Markup, e, join
from orchestrator.report.scales import MOST, Scale, scale_of, short

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 470, 12, 222
MOST_POINTS = 400
"""Of a longer series the least and the greatest of each of so many parts are drawn."""


class Point(NamedTuple):
    """A number at a time, or at a place."""

    x: float
    y: float


@dataclass(frozen=True)
class Series:
    """What is one line, or dots, of a chart.

    Attributes:
        name: in the legend.
        points: in the order of x.
        colour: 1 to 4, one of the page's.
        look: line, dashes, steps, or one of the dots disc, cross and triangle.
    """

    name: str
    points: Sequence[Point]
    colour: int = 1
    look: str = "line"


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title, x_label, y_label: texts.
        series: what is drawn; later ones over earlier ones.
        log: a logarithmic axis where it fits.
        from_zero: the axis begins at 0.
        note: a sentence below.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log: bool = False
    from_zero: bool = False
    note: str = ""

    def markup(self) -> Markup:
        """Return it as a figure; with a sentence in its place where there is nothing to draw."""
        shown = [_finite(series) for series in self.series]
        left_out = sum(len(series.points) for series in self.series) - sum(len(one.points) for one in shown)
        thinned = [Series(one.name, thin(one.points), one.colour, one.look) for one in shown if one.points]
        if not thinned:
            return e("figure", e("figcaption", self.title), e("p", "Nothing to draw yet.", class_="note"))
        notes = [self.note] if self.note else []
        if left_out:
            notes.append(f"{left_out} values that are not finite, or above {MOST:g}, are left out.")
        if any(len(one.points) > MOST_POINTS for one in shown):
            notes.append(f"Thinned to the extremes of {MOST_POINTS // 2} parts.")
        return e(
            "figure",
            e("figcaption", self.title),
            self._svg(thinned),
            _legend(thinned),
            e("p", " ".join(notes), class_="note") if notes else None,
            class_="chart",
        )

    def _svg(self, series: Sequence[Series]) -> Markup:
        xs = scale_of([point.x for one in series for point in one.points], LEFT + 6, RIGHT - 6)
        ys = scale_of(
            [point.y for one in series for point in one.points],
            BOTTOM,
            TOP,
            log=self.log,
            from_zero=self.from_zero,
        )
        scale_word = ", log" if ys.log else ""
        return e(
            "svg",
            join(*_grid(xs, ys)),
            join(*(_drawn(one, xs, ys) for one in series)),
            e("text", self.x_label, x=(LEFT + RIGHT) / 2, y=HEIGHT - 8, text_anchor="middle", class_="label"),
            e(
                "text",
                self.y_label + scale_word,
                transform=f"translate(15 {(TOP + BOTTOM) / 2:.0f}) rotate(-90)",
                text_anchor="middle",
                class_="label",
            ),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="img",
            aria_label=f"{self.title}: {self.y_label} over {self.x_label}",
            data_series=json.dumps([_hover(one, xs, ys) for one in series], allow_nan=False),
            data_x=self.x_label,
        )


def thin(points: Sequence[Point]) -> list[Point]:
    """Return a series with at most MOST_POINTS points that looks the same: its extremes stay."""
    if len(points) <= MOST_POINTS:
        return list(points)
    parts = MOST_POINTS // 2
    edges = [len(points) * part // parts for part in range(parts + 1)]
    found: list[Point] = []
    for start, end in pairwise(edges):
        among = range(start, end)
        least = min(among, key=lambda at: points[at].y)
        greatest = max(among, key=lambda at: points[at].y)
        found += [points[at] for at in sorted({least, greatest})]
    return found


def _finite(series: Series) -> Series:
    points = [point for point in series.points if abs(point.x) < MOST and abs(point.y) < MOST]
    return Series(series.name, points, series.colour, series.look)


def _grid(xs: Scale, ys: Scale) -> Iterator[Markup]:
    for tick in ys.ticks():
        y = ys.place(tick)
        yield e("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid")
        yield e("text", short(tick), x=LEFT - 6, y=y + 4.5, text_anchor="end", class_="tick")
    for tick in xs.ticks():
        x = xs.place(tick)
        yield e("line", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4, class_="axis")
        yield e("text", short(tick), x=x, y=BOTTOM + 18, text_anchor="middle", class_="tick")
    yield e("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis")


def _drawn(series: Series, xs: Scale, ys: Scale) -> Markup:
    places = [(xs.place(point.x), ys.place(point.y)) for point in series.points]
    style = f"c{series.colour} {series.look}"
    if series.look in _DOTS:
        return e("path", d=" ".join(_DOTS[series.look].format(x=x, y=y) for x, y in places), class_=style)
    if len(places) == 1:
        return e("circle", cx=places[0][0], cy=places[0][1], r=3, class_=f"c{series.colour} disc")
    if series.look == "steps":
        rest = "".join(f"H{x:.1f}V{y:.1f}" for x, y in places[1:])
    else:
        rest = "".join(f"L{x:.1f} {y:.1f}" for x, y in places[1:])
    return e("path", d=f"M{places[0][0]:.1f} {places[0][1]:.1f}{rest}", class_=style)


_DOTS = {
    "disc": "M{x:.1f} {y:.1f}m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "cross": "M{x:.1f} {y:.1f}m-4 -4l8 8m0 -8l-8 8",
    "triangle": "M{x:.1f} {y:.1f}m0 5l-5 -9h10z",
}


def _hover(series: Series, xs: Scale, ys: Scale) -> dict[str, object]:
    points = [
        [round(xs.place(point.x), 1), round(ys.place(point.y), 1), point.x, point.y]
        for point in series.points
    ]
    return {"name": series.name, "colour": series.colour, "points": points}


def _legend(series: Sequence[Series]) -> Markup | None:
    if len(series) == 1 and series[0].look not in _DOTS:
        return None
    return e(
        "ul",
        *(e("li", _key(one), one.name) for one in series),
        class_="legend",
    )


def _key(series: Series) -> Markup:
    style = f"c{series.colour} {series.look}"
    path = _DOTS[series.look].format(x=11, y=7) if series.look in _DOTS else "M1 7H21"
    return e("svg", e("path", d=path, class_=style), viewBox="0 0 22 14", class_="key", aria_hidden="true")
