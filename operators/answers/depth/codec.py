"""Metres drawn as colours: a power curve to [0, 1), then a path through the RGB cube or a colour map.

    f(d) = 1 - (1 - d / (lam * c)) ** (lam + 1)           Vision Banana, equation 1

The last colour (white on the path) stands for f = 1, which is infinitely far.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.answers.depth import cube
from plantain.operators.answers.depth.colormaps import colormap
from plantain.operators.answers.depth.value import DepthMap
from plantain.operators.answers.masks.palette import Palette
from plantain.operators.compiled import compiled
from plantain.operators.prompts import DepthCurve, Prompt
from plantain.operators.types import Value

# In published drawings 2-8% of the pixels lie more than 16 levels off the path, nearly all of them blends on
# the borders of objects, whose depth is neither object's; the mean distance of all pixels is 1-6 levels.
MAX_DISTANCE = 16


class DepthCodec:
    """Metres to colours and back, within half a step of f: 1 / 3570 on the cube path, 1 / 510 in the maps."""

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> DepthMap:
        """Metric depth of a drawing (H, W, 3) uint8 in the prompt's colour map and curve.

        Returns:
            Metres (H, W) float32. Invalid, and 0, are pixels that mean infinitely far (the last colour: the
            sky) and those more than `MAX_DISTANCE` levels from every colour of the map; `off_palette` is the
            share of the latter. Equal distances to two edges of the path are told apart as `cube.positions`
            says, to two colours of a map in favour of the nearer depth.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        metres = metres_of(prompt.curve, len(drawing_table(prompt.colormap)))
        if prompt.colormap == "cube":
            depth_m, valid, far = cube.look_up(rgb, metres, MAX_DISTANCE)
        else:
            channels = pixels.flat(rgb)
            depth_m = np.empty(rgb.shape[:2], np.float32)
            valid = np.empty(rgb.shape[:2], np.bool_)
            far = _look_up(
                channels,
                _nearest_of_map(prompt.colormap),
                drawing_table(prompt.colormap),
                metres,
                MAX_DISTANCE**2,
                depth_m.reshape(-1),
                valid.reshape(-1),
            )
        return DepthMap(depth_m, valid, far / max(1, depth_m.size))

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:
        """The drawing (H, W, 3) uint8 of a depth map.

        Invalid pixels, and those that are not finite, get the last colour of the map (white on the path).
        Valid ones never do: what is too far gets the last colour but one. Negative depth is drawn as 0.

        Raises:
            CodecError: If `value` is no DepthMap, or its maps differ in size.
        """
        depth = pixels.expect(value, DepthMap, "depth")
        table = drawing_table(prompt.colormap)
        return pixels.paint(table, index_of(depth.depth_m, depth.valid, prompt.curve, len(table)))


def drawing_table(colormap_name: str) -> NDArray[np.uint8]:
    """The colours (K, 3) uint8 of a colour map in the order of depth; entry i stands for f = i / (K - 1).

    The cube path has its 1,786 whole positions, the other maps have 256 colours. The last entry means
    infinitely far.
    """
    return cube.path() if colormap_name == "cube" else colormap(colormap_name)


def index_of(
    depth_m: NDArray[np.float32], valid: NDArray[np.bool_], curve: DepthCurve, size: int
) -> NDArray[np.uint16]:
    """Index (H, W) into a drawing table of `size` colours for each depth; the last one where there is none.

    Raises:
        CodecError: If the maps differ in size.
    """
    pixels.expect_pair("depth map", depth_m, valid)
    index = np.empty(depth_m.shape, np.uint16)
    metres = pixels.frozen(depth_m.astype(np.float32, copy=False))
    _index(metres, pixels.frozen(valid), curve.lam, curve.c, size, index.reshape(-1))
    return index


@lru_cache(maxsize=64)
def metres_of(curve: DepthCurve, size: int) -> NDArray[np.float32]:
    """Metres (size,) of each entry of a drawing table: the inverse of the curve, 0 for the last entry."""
    f = np.arange(size - 1) / (size - 1)
    metres = np.zeros(size, np.float32)
    # lam * c * (1 - (1 - f) ** (1 / (lam + 1))), without the loss of digits near 0.
    metres[:-1] = -curve.lam * curve.c * np.expm1(np.log1p(-f) / (curve.lam + 1.0))
    metres.flags.writeable = False
    return metres


@cache
def _nearest_of_map(name: str) -> NDArray[np.uint8]:
    """Index (2^24,) of the nearest of a map's colours at red << 16 | green << 8 | blue; ties to the lower.

    Made when the first drawing in this map comes, and kept.
    """
    return Palette.of(colormap(name)).table().reshape(-1)


@compiled()
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


@compiled()
def _look_up(
    rgb: NDArray[np.uint8],
    nearest: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    metres: NDArray[np.float32],
    far_sq: int,
    depth_m: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> int:
    """Fills `depth_m` and `valid` (N,) of the channels (3 N,); returns how many are far from the map."""
    last = len(metres) - 1
    far = 0
    for i in range(len(depth_m)):
        red, green, blue = np.int64(rgb[3 * i]), np.int64(rgb[3 * i + 1]), np.int64(rgb[3 * i + 2])
        k = nearest[(red << 16) | (green << 8) | blue]
        dr, dg, db = red - colours[k, 0], green - colours[k, 1], blue - colours[k, 2]
        is_far = dr * dr + dg * dg + db * db > far_sq
        is_valid = not is_far and k != last
        far += is_far
        valid[i] = is_valid
        depth_m[i] = metres[k] if is_valid else np.float32(0.0)
    return far
