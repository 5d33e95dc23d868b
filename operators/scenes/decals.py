"""Decals: what is painted on a road."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled
from plantain.operators.scenes.textures import fade, noise, step


@compiled(fastmath=True, error_model="numpy")
def marked_road(
    decals: NDArray[np.float32], x: float, y: float, fx: float, fy: float, r: float, g: float, b: float
) -> tuple[float, float, float, int]:
    """Road colour with its markings, and the class there (1 road, 2 lane marking, 3 crossing).

    Columns of `decals`: x, y, cos, sin, half length, half width, class, dash period, dash share, r, g, b.
    """
    label = 1
    for d in range(decals.shape[0]):
        dx, dy = x - decals[d, 0], y - decals[d, 1]
        cos, sin = decals[d, 2], decals[d, 3]
        v = dy * cos - dx * sin
        av = abs(v) - decals[d, 5]
        if av > 0.5:
            continue
        u = dx * cos + dy * sin
        au = abs(u) - decals[d, 4]
        if au > 0.5:
            continue
        wu = abs(fx * cos) + abs(fy * sin) + 1e-4
        wv = abs(fx * sin) + abs(fy * cos) + 1e-4
        cover = (1.0 - step(0.0, av, wv)) * (1.0 - step(0.0, au, wu))
        if cover <= 0.0:
            continue
        if cover > 0.5 and decals[d, 6] == 3.0:
            label = 3
        period = decals[d, 7]
        if period > 0.0:
            c = (u + decals[d, 4]) / period
            c = (
                abs(c - math.floor(c) - 0.5 * decals[d, 8])
                if c - math.floor(c) < 0.5 + 0.5 * decals[d, 8]
                else abs(c - math.floor(c) - 1.0 - 0.5 * decals[d, 8])
            )
            dash = 1.0 - step(0.5 * decals[d, 8], c, wu / period)
            if wu > period:
                dash = decals[d, 8]
            cover *= dash
        if cover > 0.5 and decals[d, 6] == 2.0:
            label = 2
        worn = 0.88 + 0.25 * noise(x * 3.1, y * 3.1, 5) * fade(max(wu, wv), 0.4)
        cover *= min(1.0, worn)
        r, g, b = (
            r + (decals[d, 9] - r) * cover,
            g + (decals[d, 10] - g) * cover,
            b + (decals[d, 11] - b) * cover,
        )
    return r, g, b, label
