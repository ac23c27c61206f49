"""Fields as pictures: PNG files of our own making, one byte a point, inside the page."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.report.colour_maps import COUNT, diverging, sequential, srgb
from orchestrator.report.markup import Markup, e
from orchestrator.report.scales import MOST, short

MOST_PIXELS = 192
"""In each direction; of a larger field every second, third, … point is shown."""
NOT_A_NUMBER = (128, 128, 128)

Array = npt.NDArray[np.floating[Any]]


def field_picture(title: str, values: Array, low: float, high: float, units: str, *, signed: bool) -> Markup:
    """Return a field as a figure with its colour bar.

    Args:
        title: above it.
        values: (rows, columns), the first row above.
        low, high: numbers at the ends of the colour map.
        signed: the map's middle is 0.
    """
    step = max(-(-points // MOST_PIXELS) for points in values.shape)
    shown = values[::step, ::step]
    odd = int(values.size - drawable(values).sum())
    if odd:
        title = f"{title}, {odd} points not finite, or above {MOST:g} (grey)"
    said = f"{title}, {short(low)} to {short(high)}{f' {units}' if units else ''}"
    return e(
        "figure",
        e("figcaption", title),
        e("img", src=data_uri(png(levels(shown, low, high), signed=signed)), alt=said, class_="field"),
        colour_bar(low, high, units, signed=signed),
    )


def colour_bar(low: float, high: float, units: str, *, signed: bool) -> Markup:
    """Return the colours from the lowest to the highest with numbers at the ends."""
    bar = np.arange(COUNT, dtype=np.uint8)[None, :]
    return e(
        "div",
        e("span", short(low)),
        e("img", src=data_uri(png(bar, signed=signed)), alt="", class_="bar"),
        e("span", short(high), f" {units}" if units else None),
        class_="colours",
    )


def levels(values: Array, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return the number of each point's colour; COUNT where it is no finite number."""
    finite = drawable(values)
    span = high - low or 1.0
    scaled = np.rint((np.where(finite, values, low) - low) / span * (COUNT - 1))
    return np.where(finite, scaled.clip(0, COUNT - 1), COUNT).astype(np.uint8)


def png(numbers: npt.NDArray[np.uint8], *, signed: bool) -> bytes:
    """Return a PNG file of colours by their numbers: (rows, columns) (ISO/IEC 15948, colour type 3)."""
    rows, columns = numbers.shape
    lines = np.concatenate(
        [np.zeros((rows, 1), np.uint8), numbers], axis=1
    )  # each begins with its filter: none
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette(signed)),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


@lru_cache
def palette(signed: bool) -> bytes:
    """Return the colours of a map as bytes, and that of what is no number."""
    colours = srgb(diverging() if signed else sequential())
    return colours.tobytes() + bytes(NOT_A_NUMBER)


def data_uri(file: bytes) -> str:
    """Return a PNG file as a page can hold it."""
    return "data:image/png;base64," + base64.b64encode(file).decode()


def drawable(values: Array) -> npt.NDArray[np.bool_]:
    """Tell which numbers have a colour: those that are finite and no larger than charts show."""
    with np.errstate(invalid="ignore"):
        return np.abs(values) < MOST


def limits(arrays: Sequence[Array]) -> tuple[float, float]:
    """Return the least and the greatest finite number of some arrays; 0 and 1 where there is none."""
    finite = np.concatenate([array[drawable(array)].ravel() for array in arrays])
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
