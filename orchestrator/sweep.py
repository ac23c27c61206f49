"""Which points of a space of parameters an Ensemble visits. Each function returns a list of points.

A point is parameter -> value. Where a function draws, a parameter has a range: `(low, high)` for a number
between them, whole if both are, or a list of values to draw from. The same seed gives the same points.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.errors import SweepError

Value: TypeAlias = str | int | float | bool | Path
Point: TypeAlias = dict[str, Value]
Range: TypeAlias = tuple[int, int] | tuple[float, float] | list[Value]


def grid(values: Mapping[str, Sequence[Value]]) -> list[Point]:
    """Return every combination of the values; the last parameter varies fastest.

    Raises:
        SweepError: naming the parameter that has no list of values.
    """
    _check_lists(values)
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def steps(values: Mapping[str, Sequence[Value]]) -> list[Point]:
    """Return the first value of every parameter together, then the second of every one, and so on.

    Raises:
        SweepError: naming the parameter that has no list, or one of another length than the first.
    """
    _check_lists(values)
    lengths = {parameter: len(some) for parameter, some in values.items()}
    for parameter, length in lengths.items():
        first, expected = next(iter(lengths.items()))
        if length != expected:
            raise SweepError(parameter, f"has {length} value(s) and {first!r} {expected}: steps go together")
    return [dict(zip(values, point, strict=True)) for point in zip(*values.values(), strict=True)]


def uniform(ranges: Mapping[str, Range], count: int, *, seed: int) -> list[Point]:
    """Return points drawn at random, each parameter by itself.

    Raises:
        SweepError: naming the parameter whose range cannot be, or the count or seed that cannot.
    """
    _check_drawing(ranges, count, seed)
    drawn = random.Random(seed)
    return _points(ranges, ([drawn.random() for _ in ranges] for _ in range(count)))


def latin_hypercube(ranges: Mapping[str, Range], count: int, *, seed: int) -> list[Point]:
    """Return points of which each parameter's range, cut into `count` parts, has one in each part.

    McKay, Beckman & Conover 1979, by scipy.

    Raises:
        SweepError: as `uniform`; or scipy is missing.
    """
    _check_drawing(ranges, count, seed)
    return _points(ranges, _qmc("latin_hypercube").LatinHypercube(len(ranges), seed=seed).random(count))


def sobol(ranges: Mapping[str, Range], count: int, *, seed: int) -> list[Point]:
    """Return the first points of a scrambled Sobol sequence, which fills the space evenly.

    Sobol' 1967, Owen's scrambling, by scipy.

    Args:
        ranges: parameter -> range.
        count: a power of two; other numbers of points are not even.
        seed: of the scrambling.

    Raises:
        SweepError: as `uniform`; or the count is no power of two, or scipy is missing.
    """
    _check_drawing(ranges, count, seed)
    if count & (count - 1):
        below = 1 << (count.bit_length() - 1)
        raise SweepError(
            "count",
            f"{count} is no power of two, and only those fill the space evenly: {below} or {2 * below}",
        )
    return _points(ranges, _qmc("sobol").Sobol(len(ranges), seed=seed).random(count))


def _points(ranges: Mapping[str, Range], fractions: Iterable[Iterable[float]]) -> list[Point]:
    return [
        {name: _value(some, float(part)) for (name, some), part in zip(ranges.items(), row, strict=True)}
        for row in fractions
    ]


def _value(some: Range, fraction: float) -> Value:
    """Return what lies at a fraction, from 0 to below 1, of a range."""
    if isinstance(some, list):
        return some[int(fraction * len(some))]
    low, high = some
    if isinstance(low, int) and isinstance(high, int):
        return low + int(fraction * (high - low + 1))
    return low + fraction * (high - low)


def _qmc(strategy: str) -> Any:
    try:
        return import_module("scipy.stats.qmc")
    except ImportError as error:
        raise SweepError(
            strategy, "needs the package scipy: pip install scipy, or penstock[sampling]", package="scipy"
        ) from error


def _check_lists(values: Mapping[str, Sequence[Value]]) -> None:
    if not isinstance(values, Mapping) or not values:
        raise SweepError("values", f"{values!r} is no mapping of at least one parameter to its values")
    for parameter, some in values.items():
        if isinstance(some, str) or not isinstance(some, Sequence) or not some:
            raise SweepError(parameter, "needs a list of at least one value")


def _check_drawing(ranges: Mapping[str, Range], count: int, seed: int) -> None:
    if not isinstance(ranges, Mapping) or not ranges:
        raise SweepError("ranges", f"{ranges!r} is no mapping of at least one parameter to its range")
    for parameter, some in ranges.items():
        if not _is_choice(some) and not _is_interval(some):
            raise SweepError(
                parameter,
                f"{some!r} is no range: (low, high) with low < high, or a list of at least one value",
            )
    for what, number, least in (("count", count, 1), ("seed", seed, 0)):
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise SweepError(what, f"{number!r} must be a whole number of at least {least}")


def _is_choice(some: object) -> bool:
    return isinstance(some, list) and bool(some)


def _is_interval(some: object) -> bool:
    if not isinstance(some, tuple) or len(some) != 2:
        return False
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in some)
    return numbers and all(map(math.isfinite, some)) and some[0] < some[1]
