"""Which colours people call by which word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def shows(colour: str, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of pixels (N, 3) uint8 RGB somebody would call by the word for a colour."""
    (first, last), strong, light = HUES[colour]
    hue, saturation, value = _hsv(pixels)
    of_hue = (hue >= first) & (hue <= last) if first < last else (hue >= first) | (hue <= last)
    is_as_strong = (saturation >= strong[0]) & (saturation <= strong[1])
    return of_hue & is_as_strong & (value >= light[0]) & (value <= light[1])


def _hsv(pixels: NDArray[np.uint8]) -> tuple[Floats, Floats, Floats]:
    """Hue in degrees, saturation and value from 0 to 1, each (N,)."""
    rgb = pixels.astype(np.float32) / 255
    red, green, blue = rgb.T
    value, spread = rgb.max(1), rgb.max(1) - rgb.min(1)
    wide = np.maximum(spread, 1e-6)
    sixth = np.where(
        value == red,
        (green - blue) / wide % 6,
        np.where(value == green, (blue - red) / wide + 2, (red - green) / wide + 4),
    )
    return 60 * sixth, spread / np.maximum(value, 1e-3), value


HUES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((342, 14), (0.45, 1), (0, 1)),
    "orange": ((14, 40), (0.5, 1), (0.45, 1)),
    "brown": ((0, 45), (0.3, 1), (0.22, 0.45)),
    "yellow": ((40, 68), (0.45, 1), (0, 1)),
    "green": ((75, 165), (0.25, 1), (0, 1)),
    "blue": ((190, 255), (0.3, 1), (0, 1)),
    "purple": ((255, 310), (0.2, 1), (0, 1)),
    "pink": ((310, 342), (0.2, 1), (0.5, 1)),
    "white": ((0, 360), (0, 0.2), (0.7, 1)),
    "grey": ((0, 360), (0, 0.22), (0.25, 0.7)),
    "gray": ((0, 360), (0, 0.22), (0.25, 0.7)),
    "silver": ((0, 360), (0, 0.2), (0.45, 1)),
    "black": ((0, 360), (0, 1), (0, 0.22)),
}
"""Words for colours, and what is called so: from and to of hue in degrees, saturation and value."""
