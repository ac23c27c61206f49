"""Colour maps whose steps look equally large, computed in OKLab.

OKLab is of Björn Ottosson (2020, bottosson.github.io/posts/oklab).

Both can be told apart without colour vision: one grows lighter all the way, the other darker to both sides,
blue to the one and orange to the other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Colours = npt.NDArray[np.float64]
COUNT = 255
"""Colours of a map; one more is left for what is no number."""

_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
"""Linear sRGB to the responses of the eye's cones."""
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
"""Cube roots of those to OKLab."""


def sequential(count: int = COUNT) -> Colours:
    """Return a map from dark violet over blue and green to light yellow: (count, 3) OKLab."""
    t = np.linspace(0, 1, 4001)
    chroma = np.interp(t, [0, 0.25, 0.45, 0.6, 0.8, 1], [0.09, 0.105, 0.088, 0.095, 0.14, 0.14])
    hue = np.radians(300 - 195 * t)
    return _even(np.stack([0.22 + 0.73 * t, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1), count)


def diverging(count: int = COUNT) -> Colours:
    """Return a map from blue over near white in the middle to orange: (count, 3) OKLab."""
    t = np.linspace(-1, 1, count)
    hue = np.radians(np.where(t < 0, 255, 45))
    chroma = 0.12 * abs(t)
    return np.stack([0.95 - 0.51 * abs(t), chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


def srgb(lab: Colours) -> npt.NDArray[np.uint8]:
    """Return the bytes red, green and blue of colours in OKLab: (count, 3)."""
    linear = linear_rgb(lab).clip(0, 1)
    bent = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    found: npt.NDArray[np.uint8] = np.rint(255 * bent).astype(np.uint8)
    return found


def linear_rgb(lab: Colours) -> Colours:
    """Return linear red, green and blue; outside 0 to 1 where a screen cannot show the colour."""
    found: Colours = (lab @ np.linalg.inv(_LAB).T) ** 3 @ np.linalg.inv(_LMS).T
    return found


def _even(path: Colours, count: int) -> Colours:
    """Return so many colours on a path, the same distance from one to the next."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, column) for column in path.T], axis=1)
