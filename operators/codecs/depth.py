"""Metres drawn as colours: a power curve to [0, 1), then a path through the RGB cube or a colour map.

    f(d) = 1 - (1 - d / (lam * c)) ** (lam + 1)           Vision Banana, equation 1
    position = round(1785 * f) on black -> red -> yellow -> green -> cyan -> blue -> magenta -> white

The seven edges of the path are parallel to the axes, so the point of an edge that is nearest to an 8-bit colour is
one of its channels: the 1,786 whole positions are all that can be decoded, and a table over them is exact. White, the
last one, means infinitely far.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.codecs import pixels
from operators.codecs.colormaps import colormap
from operators.codecs.palette import Palette
from operators.prompts import DepthCurve, Prompt
from operators.types import DepthMap, Value

# In published drawings 2-8% of the pixels lie more than 16 levels off the path, nearly all of them blends on the
# borders of objects, whose depth is neither object's; the mean distance of the others is 1-6 levels.
MAX_DISTANCE = 16

VERTICES = np.array(
    [
        (0, 0, 0),  # black, 0 m
        (255, 0, 0),
        (255, 255, 0),
        (0, 255, 0),
        (0, 255, 255),
        (0, 0, 255),
        (255, 0, 255),  # magenta, 16.5 m with the paper's curve
        (255, 255, 255),  # white, infinitely far
    ],
    np.int64,
)
EDGE = 255
"""Positions from one corner of the path to the next."""

LAST = 7 * EDGE
"""Position of white."""


class DepthCodec:
    """Metres to colours and back, within half a position of the curve: `1 / (2 * LAST)` in f (cube), 1 / 510 (maps)."""

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> DepthMap:
        """Metric depth of a drawing (H, W, 3) uint8 in the prompt's colour map and curve.

        Returns:
            Metres (H, W) float32. Invalid, and 0, are pixels that mean infinitely far (the last colour of the map: the
            sky) and those more than `MAX_DISTANCE` levels from every colour of the map; `off_palette` is the share of
            the latter. Two edges at exactly the same distance are told apart as `positions` says.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        flat = pixels.flat(rgb)
        depth_m = np.empty(len(flat), np.float32)
        valid = np.empty(len(flat), np.bool_)
        far_sq = MAX_DISTANCE**2
        if prompt.colormap == "cube":
            far = _decode_cube(flat, _metres(prompt.curve, LAST + 1), far_sq, depth_m, valid)
        else:
            table, colours = _nearest_of_map(prompt.colormap), drawing_table(prompt.colormap)
            far = _decode_map(
                flat, table, colours, _metres(prompt.curve, len(colours)), far_sq, depth_m, valid
            )
        shape = rgb.shape[:2]
        return DepthMap(depth_m.reshape(shape), valid.reshape(shape), far / max(1, len(flat)))

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:
        """The drawing (H, W, 3) uint8 of a depth map.

        Invalid pixels, and those that are not finite, get the last colour of the map (white on the path). Valid ones
        never do: what is too far gets the last colour but one. Negative depth is drawn as 0.

        Raises:
            CodecError: If `value` is no DepthMap, or its maps differ in size.
        """
        depth = pixels.expect(value, DepthMap, "depth")
        pixels.same_shape("depth", depth_m=depth.depth_m, valid=depth.valid)
        table = drawing_table(prompt.colormap)
        return table[index_of(depth.depth_m, depth.valid, prompt.curve, len(table))]


@cache
def drawing_table(colormap_name: str) -> NDArray[np.uint8]:
    """The colours (K, 3) uint8 of a colour map in the order of depth; entry i stands for f = i / (K - 1).

    The cube path has its 1,786 whole positions, the other maps have 256 colours. The last entry means infinitely far.
    """
    if colormap_name != "cube":
        return colormap(colormap_name)
    position = np.arange(LAST + 1)
    edge = np.minimum(position // EDGE, 6)
    step = np.sign(np.diff(VERTICES, axis=0))[edge]
    table = (VERTICES[edge] + step * (position - edge * EDGE)[:, None]).astype(np.uint8)
    table.flags.writeable = False
    return table


def index_of(
    depth_m: NDArray[np.float32], valid: NDArray[np.bool_], curve: DepthCurve, size: int
) -> NDArray[np.uint16]:
    """Index (H, W) into a drawing table of `size` colours of each depth; the last one where there is none."""
    index = np.empty(depth_m.size, np.uint16)
    _index(
        pixels.frozen(depth_m.astype(np.float32, copy=False).ravel()),
        pixels.frozen(valid.ravel()),
        curve.lam,
        curve.c,
        size,
        index,
    )
    return index.reshape(depth_m.shape)


def positions(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """The nearest position (H, W) on the cube path, 0..1785, and the distance to it in levels.

    A colour may be exactly as far from two edges. The published decoder of the code (hilbertmap 0.1.3) then decides by
    the rounding of its 64-bit arithmetic, and so do we, so that the same drawing means the same metres to both.

    Args:
        rgb: (H, W, 3) uint8.

    Raises:
        CodecError: If `rgb` has another shape or dtype.
    """
    flat = pixels.flat(rgb)
    index = np.empty(len(flat), np.uint16)
    distance = np.empty(len(flat), np.float32)
    _positions(flat, index, distance)
    return index.reshape(rgb.shape[:2]), distance.reshape(rgb.shape[:2])


@lru_cache(maxsize=64)
def _metres(curve: DepthCurve, size: int) -> NDArray[np.float32]:
    """Metres (size,) of each entry of a drawing table: the curve's inverse, 0 for the last one, which has none."""
    f = np.arange(size - 1) / (size - 1)
    metres = np.zeros(size, np.float32)
    # lam * c * (1 - (1 - f) ** (1 / (lam + 1))), without the loss of digits near 0.
    metres[:-1] = -curve.lam * curve.c * np.expm1(np.log1p(-f) / (curve.lam + 1.0))
    metres.flags.writeable = False
    return metres


@cache
def _nearest_of_map(name: str) -> NDArray[np.uint8]:
    """Index of the nearest of a map's 256 colours for every colour, (2^24,), at red * 65536 + green * 256 + blue.

    16 MiB, built in about 0.2 s when the first drawing in this map comes.
    """
    palette = Palette.of(colormap(name))
    table = np.empty(1 << 24, np.uint8)
    blue = np.tile(np.arange(256, dtype=np.uint8), 256)
    green = np.repeat(np.arange(256, dtype=np.uint8), 256)
    for red in range(256):
        plane = np.stack([np.full_like(green, red), green, blue], axis=1)
        table[red << 16 : (red + 1) << 16] = palette.nearest(plane[None])[0]
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def _index(
    depth_m: NDArray[np.float32],
    valid: NDArray[np.bool_],
    lam: float,
    c: float,
    size: int,
    index: NDArray[np.uint16],
) -> None:
    """Fills `index` (N,) of depths (N,)."""
    for i in range(len(depth_m)):
        index[i] = size - 1
        if valid[i] and np.isfinite(depth_m[i]):
            d = max(0.0, np.float64(depth_m[i]))
            f = 1.0 - (1.0 - d / (lam * c)) ** (lam + 1.0)
            index[i] = min(size - 2, int(f * (size - 1) + 0.5))


@njit(cache=True, nogil=True, inline="always")
def _keys(red: int, green: int, blue: int) -> tuple[int, int, int, int, int, int, int]:
    """For each edge of the path its squared distance to a colour, times 2048, plus the position of its nearest point.

    The smallest key is the nearest edge's, the first one of equals: 17 bits of distance, 11 of position.
    """
    r, g, b = np.int32(red), np.int32(green), np.int32(blue)
    full = np.int32(255)
    shift = np.int32(2048)
    r_sq, g_sq, b_sq = r * r, g * g, b * b
    not_r, not_g, not_b = full - r, full - g, full - b
    not_r_sq, not_g_sq, not_b_sq = not_r * not_r, not_g * not_g, not_b * not_b
    return (
        (g_sq + b_sq) * shift + r,
        (not_r_sq + b_sq) * shift + full + g,
        (not_g_sq + b_sq) * shift + np.int32(510) + not_r,
        (r_sq + not_g_sq) * shift + np.int32(765) + b,
        (r_sq + not_b_sq) * shift + np.int32(1020) + not_g,
        (g_sq + not_b_sq) * shift + np.int32(1275) + r,
        (not_r_sq + not_b_sq) * shift + np.int32(1530) + g,
    )


@njit(cache=True, nogil=True)
def _break_tie(red: int, green: int, blue: int) -> int:
    """Position of a colour as 64-bit floating point finds it; only for colours as far from two edges as from one."""
    point = (red / 255.0, green / 255.0, blue / 255.0)
    rounded = (1.0 - (1.0 - point[0]), 1.0 - (1.0 - point[1]))
    # Per edge, the three components of the step from the nearest point; on a falling edge the first one is not quite 0.
    steps = (
        (0.0, point[1], point[2]),
        (point[0] - 1.0, 0.0, point[2]),
        (point[0] - rounded[0], point[1] - 1.0, point[2]),
        (point[0], point[1] - 1.0, 0.0),
        (point[0], point[1] - rounded[1], point[2] - 1.0),
        (0.0, point[1], point[2] - 1.0),
        (point[0] - 1.0, 0.0, point[2] - 1.0),
    )
    r, g, b = np.int64(red), np.int64(green), np.int64(blue)
    along = (r, g, 255 - r, b, 255 - g, r, g)
    best, best_sq = 0, 4.0
    for k in range(7):
        distance_sq = (steps[k][0] * steps[k][0] + steps[k][1] * steps[k][1]) + steps[k][2] * steps[k][2]
        if distance_sq < best_sq:
            best_sq = distance_sq
            best = k
    return best * 255 + along[best]


@njit(cache=True, nogil=True, inline="always")
def _nearest_position(red: int, green: int, blue: int) -> tuple[int, int]:
    """Position of the point of the path nearest to a colour, and the squared distance to it."""
    keys = _keys(red, green, blue)
    smallest = min(keys[0], keys[1], keys[2], keys[3], keys[4], keys[5], keys[6])
    distance_sq = smallest >> 11
    limit = (distance_sq + 1) << 11
    is_tie = False
    for key in keys:
        is_tie |= (key != smallest) & (key < limit)
    if is_tie:
        return _break_tie(red, green, blue), distance_sq
    return smallest & 2047, distance_sq


@njit(cache=True, nogil=True)
def _positions(rgb: NDArray[np.uint8], index: NDArray[np.uint16], distance: NDArray[np.float32]) -> None:
    """Fills `index` and `distance` (N,) of the pixels (N, 3)."""
    for i in range(len(rgb)):
        position, distance_sq = _nearest_position(rgb[i, 0], rgb[i, 1], rgb[i, 2])
        index[i] = position
        distance[i] = np.sqrt(np.float32(distance_sq))


@njit(cache=True, nogil=True)
def _decode_cube(
    rgb: NDArray[np.uint8],
    metres: NDArray[np.float32],
    far_sq: int,
    depth_m: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> int:
    """Fills `depth_m` and `valid` (N,) of the pixels (N, 3); returns how many are far from the path."""
    last = len(metres) - 1
    far = 0
    for i in range(len(rgb)):
        position, distance_sq = _nearest_position(rgb[i, 0], rgb[i, 1], rgb[i, 2])
        is_far = distance_sq > far_sq
        is_valid = not is_far and position != last
        far += is_far
        valid[i] = is_valid
        depth_m[i] = metres[position] if is_valid else np.float32(0.0)
    return far


@njit(cache=True, nogil=True)
def _decode_map(
    rgb: NDArray[np.uint8],
    table: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    metres: NDArray[np.float32],
    far_sq: int,
    depth_m: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> int:
    """As `_decode_cube`, with the nearest colour of a map from its table."""
    last = len(metres) - 1
    far = 0
    for i in range(len(rgb)):
        red, green, blue = np.int32(rgb[i, 0]), np.int32(rgb[i, 1]), np.int32(rgb[i, 2])
        index = table[(red << 16) | (green << 8) | blue]
        dr, dg, db = red - colours[index, 0], green - colours[index, 1], blue - colours[index, 2]
        is_far = dr * dr + dg * dg + db * db > far_sq
        is_valid = not is_far and index != last
        far += is_far
        valid[i] = is_valid
        depth_m[i] = metres[index] if is_valid else np.float32(0.0)
    return far
