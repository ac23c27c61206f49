"""Axes: from numbers to places in a picture, with ticks where a reader expects them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TICKS = 5
SPAN_OF_LOG = 8.0
"""Numbers that are all positive, the greatest so many times the least, are better seen on a log axis."""


MOST = 1e30
"""Larger numbers are not drawn, as those that are not finite: beside them nothing else is to be seen."""


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low, high: the numbers at its ends, low < high; both positive where it is logarithmic.
        start, end: where those are in the picture.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a number is."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return the numbers that are written beside it."""
        return log_ticks(self.low, self.high) if self.log else linear_ticks(self.low, self.high)


def scale_of(
    values: Sequence[float], start: float, end: float, *, log: bool = False, from_zero: bool = False
) -> Scale:
    """Return an axis on which all the numbers have their place, with a little room.

    Args:
        log: logarithmic, if all are positive and far apart.
        from_zero: begins at 0, where it is not logarithmic and none is negative.
    """
    low, high = min(values, default=0.0), max(values, default=1.0)
    if log and low > 1 / MOST and high / low >= SPAN_OF_LOG:
        room = (high / low) ** 0.04
        return Scale(low / room, high * room, start, end, log=True)
    if from_zero and low >= 0:
        low = 0.0
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one number alone, or as good as one
        room = abs(high) / 2 or 0.5
        return Scale(low if from_zero and low == 0 else low - room, high + room, start, end)
    room = 0.04 * (high - low)
    return Scale(low if low == 0 else low - room, high + room, start, end)


def linear_ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers from low to high."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten from low to high, with twice and five times those where there are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = -(-len(decades) // 8)
    factors = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    found = [factor * 10.0**decade for decade in decades[::every] for factor in factors]
    return [tick for tick in found if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def short(value: float) -> str:
    """Return a number in as few letters as tell it: 3 or 4 digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"


def time_unit(span_s: float) -> tuple[float, str]:
    """Return in which unit a span of time is told best: its length in s, and its name."""
    for length, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if span_s >= 3 * length:
            return length, name
    return 1.0, "s"


def duration(seconds: float) -> str:
    """Return a duration as a reader wants it: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
