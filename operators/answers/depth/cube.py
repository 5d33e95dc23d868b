"""The path through the corners of the RGB cube on which depth is drawn (Vision Banana, section 3.2).

    black -> red -> yellow -> green -> cyan -> blue -> magenta -> white

Its seven edges are parallel to the axes, so the point of an edge nearest to an 8-bit colour is one of its
channels: no colour decodes to anything but one of 1,786 whole positions, and a table over them is exact.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.compiled import compiled

CORNERS = (
    (0, 0, 0),
    (255, 0, 0),
    (255, 255, 0),
    (0, 255, 0),
    (0, 255, 255),
    (0, 0, 255),
    (255, 0, 255),
    (255, 255, 255),
)
EDGE = 255
"""Positions from one corner to the next."""

LAST = 7 * EDGE
"""Position of white."""

# Pixels that are worked on at a time: their keys, 16 kB, stay in the first-level cache between the two loops.
_BLOCK = 4096


@cache
def path() -> NDArray[np.uint8]:
    """The colour (1786, 3) of every position, read-only."""
    corners = np.array(CORNERS, np.int64)
    position = np.arange(LAST + 1)
    edge = np.minimum(position // EDGE, len(CORNERS) - 2)
    step = np.sign(np.diff(corners, axis=0))[edge]
    colours: NDArray[np.uint8] = (corners[edge] + step * (position - edge * EDGE)[:, None]).astype(np.uint8)
    colours.flags.writeable = False
    return colours


def positions(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """The position (H, W) of the point of the path nearest to each pixel, and its squared distance in levels.

    A colour may be exactly as far from two edges. The published decoder of the code (hilbertmap 0.1.3) then
    decides by the rounding of its 64-bit arithmetic, and so do we: the same drawing means the same metres to
    both.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        Positions uint16 in 0..1785, and squared distances int32.

    Raises:
        CodecError: If `rgb` has another shape or dtype.
    """
    channels = pixels.flat(rgb)
    position = np.empty(rgb.shape[:2], np.uint16)
    distance_sq = np.empty(rgb.shape[:2], np.int32)
    _locate(channels, position.reshape(-1), distance_sq.reshape(-1))
    return position, distance_sq


def look_up(
    rgb: NDArray[np.uint8], values: NDArray[np.float32], max_distance: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
    """The value of each pixel's position, without the detour of storing positions.

    Args:
        rgb: (H, W, 3) uint8.
        values: (1786,), one for each position; the last one, of white, is never used.
        max_distance: How far from the path a colour may lie, in levels.

    Returns:
        Values (H, W), 0 where there is none; whether there is one (H, W); and how many pixels are too far
        from the path. White and what is nearest to it have no value either.

    Raises:
        CodecError: If `rgb` has another shape or dtype.
    """
    channels = pixels.flat(rgb)
    value = np.empty(rgb.shape[:2], np.float32)
    has_value = np.empty(rgb.shape[:2], np.bool_)
    far = _look_up(channels, values, max_distance**2, value.reshape(-1), has_value.reshape(-1))
    return value, has_value, far


@compiled()
def _locate(rgb: NDArray[np.uint8], position: NDArray[np.uint16], distance_sq: NDArray[np.int32]) -> None:
    """Fills `position` and `distance_sq` (N,) of the channels (3 N,)."""
    keys = np.empty(_BLOCK, np.int32)
    for start in range(0, len(position), _BLOCK):
        count = min(_BLOCK, len(position) - start)
        _find_nearest(rgb[3 * start : 3 * (start + count)], keys)
        for j in range(count):
            i = start + j
            key = abs(keys[j])
            is_tie = keys[j] < 0
            position[i] = _break_tie(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]) if is_tie else key & 2047
            distance_sq[i] = key >> 11


@compiled()
def _look_up(
    rgb: NDArray[np.uint8],
    values: NDArray[np.float32],
    far_sq: int,
    value: NDArray[np.float32],
    has_value: NDArray[np.bool_],
) -> int:
    """Fills `value` and `has_value` (N,) of the channels (3 N,); returns how many pixels are too far."""
    keys = np.empty(_BLOCK, np.int32)
    far = 0
    for start in range(0, len(value), _BLOCK):
        count = min(_BLOCK, len(value) - start)
        _find_nearest(rgb[3 * start : 3 * (start + count)], keys)
        for j in range(count):
            i = start + j
            key = keys[j]
            position = key & 2047
            if key < 0:
                key = -key
                position = _break_tie(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2])
            is_far = (key >> 11) > far_sq
            is_there = not is_far and position != LAST
            far += is_far
            has_value[i] = is_there
            value[i] = values[position] if is_there else np.float32(0.0)
    return far


@compiled()
def _find_nearest(rgb: NDArray[np.uint8], keys: NDArray[np.int32]) -> None:
    """Fills `keys` with the nearest edge's key of each pixel (channels (3 N,)), negative where two edges tie.

    An edge's key is its squared distance (17 bits) times 2048, plus the position of its nearest point (11
    bits), so the smallest key is that of the nearest edge. All in 32 bits and without a branch, to be
    vectorised.
    """
    for j in range(len(rgb) // 3):
        r, g, b = np.int32(rgb[3 * j]), np.int32(rgb[3 * j + 1]), np.int32(rgb[3 * j + 2])
        not_r, not_g, not_b = np.int32(255 - r), np.int32(255 - g), np.int32(255 - b)
        r_sq, g_sq, b_sq = np.int32(r * r), np.int32(g * g), np.int32(b * b)
        not_r_sq, not_g_sq, not_b_sq = (
            np.int32(not_r * not_r),
            np.int32(not_g * not_g),
            np.int32(not_b * not_b),
        )
        red = _key(g_sq, b_sq, r)
        yellow = _key(not_r_sq, b_sq, np.int32(255 + g))
        green = _key(not_g_sq, b_sq, np.int32(510 + not_r))
        cyan = _key(r_sq, not_g_sq, np.int32(765 + b))
        blue = _key(r_sq, not_b_sq, np.int32(1020 + not_g))
        magenta = _key(g_sq, not_b_sq, np.int32(1275 + r))
        white = _key(not_r_sq, not_b_sq, np.int32(1530 + g))
        best = min(min(min(red, yellow), min(green, cyan)), min(min(blue, magenta), white))  # noqa: PLW3301
        most = np.int32(best | 2047)
        is_tie = (
            ((red != best) & (red <= most))
            | ((yellow != best) & (yellow <= most))
            | ((green != best) & (green <= most))
            | ((cyan != best) & (cyan <= most))
            | ((blue != best) & (blue <= most))
            | ((magenta != best) & (magenta <= most))
            | ((white != best) & (white <= most))
        )
        keys[j] = np.int32(-best) if is_tie else best


@compiled()
def _key(one_sq: np.int32, other_sq: np.int32, position: np.int32) -> np.int32:
    """The key of an edge that a colour misses by these two squares."""
    return np.int32(np.int32(np.int32(one_sq + other_sq) * np.int32(2048)) + position)


@compiled()
def _break_tie(red: np.uint8, green: np.uint8, blue: np.uint8) -> np.int64:
    """Position of a colour as 64-bit arithmetic on shares of 255 finds it, rounding errors included."""
    r, g, b = red / 255.0, green / 255.0, blue / 255.0
    # On an edge that falls, the nearest point's coordinate is computed as 1 - (1 - x), which may not be x.
    r_fall = r - (1.0 - (1.0 - r))
    g_fall = g - (1.0 - (1.0 - g))
    squares = (
        _square(0.0, g, b),
        _square(r - 1.0, 0.0, b),
        _square(r_fall, g - 1.0, b),
        _square(r, g - 1.0, 0.0),
        _square(r, g_fall, b - 1.0),
        _square(0.0, g, b - 1.0),
        _square(r - 1.0, 0.0, b - 1.0),
    )
    up_r, up_g, up_b = np.int64(red), np.int64(green), np.int64(blue)
    along = (up_r, up_g, 255 - up_r, up_b, 255 - up_g, up_r, up_g)
    best = 0
    for edge in range(1, 7):
        if squares[edge] < squares[best]:
            best = edge
    return best * EDGE + along[best]


@compiled()
def _square(x: float, y: float, z: float) -> float:
    """Squared length of a vector, summed from left to right."""
    return (x * x + y * y) + z * z
