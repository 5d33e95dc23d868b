"""The sky: what its light is like in a direction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled
from plantain.operators.scenes.light import CLOUDS, HORIZON, SHADOW_AMBIENT, SKY_SEED, SUN, SUN_COLOUR, ZENITH
from plantain.operators.scenes.textures import noise

SKY_CLASS = 8


@compiled(fastmath=True, error_model="numpy")
def sky_colour(
    light: NDArray[np.float64], x: float, y: float, z: float, with_clouds: bool
) -> tuple[float, float, float]:
    """Radiance of the sky in a direction."""
    t = math.sqrt(max(0.0, min(1.0, z)))
    r = light[HORIZON] + (light[ZENITH] - light[HORIZON]) * t
    g = light[HORIZON + 1] + (light[ZENITH + 1] - light[HORIZON + 1]) * t
    b = light[HORIZON + 2] + (light[ZENITH + 2] - light[HORIZON + 2]) * t
    toward = max(0.0, x * light[SUN] + y * light[SUN + 1] + z * light[SUN + 2])
    if light[SHADOW_AMBIENT] < 0.5:
        glow = 0.25 * toward**8 + 2.5 * toward**400
        r += light[SUN_COLOUR] * glow * 0.3
        g += light[SUN_COLOUR + 1] * glow * 0.3
        b += light[SUN_COLOUR + 2] * glow * 0.3
    if with_clouds and light[CLOUDS] > 0.0 and z > 0.0:
        s = 1.3 / (z + 0.14)
        seed = int(light[SKY_SEED])
        n = 0.55 * noise(x * s, y * s, seed) + 0.3 * noise(x * s * 2.3, y * s * 2.3, seed + 1)
        n += 0.2 * noise(x * s * 5.1, y * s * 5.1, seed + 2)
        cover = min(1.0, max(0.0, (n - 0.7 + 1.4 * light[CLOUDS]) * 2.0)) * min(1.0, z * 6.0)
        lum = (0.62 + 0.38 * (0.5 - 0.5 * n)) * (
            light[HORIZON] + light[HORIZON + 1] + light[HORIZON + 2]
        ) / 3 + 0.22 * light[SUN_COLOUR] * (0.4 + 0.6 * toward)
        r, g, b = r + (lum - r) * cover * 0.8, g + (lum - g) * cover * 0.8, b + (lum * 1.02 - b) * cover * 0.8
    return r, g, b
