"""Shadows: the map of what stands between the light and the ground, and how much light it lets through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled
from plantain.operators.scenes.raster import rasterise_from_light

MAP_SIZE = 640

# Six points spread evenly over the unit disc, turned by another angle at each pixel.
_TAPS = tuple(
    (math.sqrt((k + 0.5) / 6.0) * math.cos(2.4 * k), math.sqrt((k + 0.5) / 6.0) * math.sin(2.4 * k))
    for k in range(6)
)
_TURNS = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], axis=1)


@dataclass(slots=True)
class ShadowMap:
    """Heights towards the light around the place that the camera sees; what stands still is drawn once.

    Attributes:
        centre: (3,) the middle, metres.
        axes: (3, 3) right, down and towards the light.
        texel_m: Size of a texel.
        still: (S, S) heights of what stands still.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    texel_m: float
    still: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        points: NDArray[np.float32],
        eye: NDArray[np.float64],
        forward: NDArray[np.float64],
        sun: NDArray[np.float64],
    ) -> ShadowMap:
        """A map of standing triangles for a camera at `eye`, finer for low cameras."""
        level = np.array([forward[0], forward[1], 0.0])
        level /= np.linalg.norm(level) + 1e-9
        reach = float(np.clip(eye[2] * 9.0, 28.0, 60.0))
        centre = np.array([eye[0], eye[1], 0.0]) + level * reach * 0.8
        side = np.cross(sun, (0.0, 0.0, 1.0) if abs(sun[2]) < 0.99 else (0.0, 1.0, 0.0))
        side /= np.linalg.norm(side)
        axes = np.stack([side, np.cross(sun, side), sun])
        made = cls(centre, axes, 2.0 * reach / MAP_SIZE, np.full((MAP_SIZE, MAP_SIZE), -1e9, np.float32))
        rasterise_from_light(points, centre, axes, made.texel_m, made.still)
        return made

    def with_moving(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(S, S) the map with moving triangles added."""
        heights = self.still.copy()
        rasterise_from_light(points, self.centre, self.axes, self.texel_m, heights)
        return heights


@compiled(fastmath=True, error_model="numpy")
def sun_share(
    height_map: NDArray[np.float32],
    centre: NDArray[np.float64],
    axes: NDArray[np.float64],
    texel: float,
    soft: float,
    is_ambient: bool,
    p: tuple[float, float, float],
    n: tuple[float, float, float],
    turn: int,
) -> float:
    """How much of the light reaches a point, 0..1, from six taps of the shadow map around it."""
    size = height_map.shape[0]
    if is_ambient:
        # Light from above: step out of walls, stay close to level ground, so that it is dark under cars.
        out = texel * soft * 1.1
        x, y = p[0] + n[0] * out - centre[0], p[1] + n[1] * out - centre[1]
        z, slack = p[2] - centre[2], 0.12 + 0.5 * (1.0 - n[2])
    else:
        cosine = min(1.0, max(0.12, n[0] * axes[2, 0] + n[1] * axes[2, 1] + n[2] * axes[2, 2]))
        out = 0.7 * texel
        x, y, z = p[0] + n[0] * out - centre[0], p[1] + n[1] * out - centre[1], p[2] + n[2] * out - centre[2]
        slack = 0.01 + min(1.2, texel * (0.6 + soft) * math.sqrt(1.0 - cosine * cosine) / cosine)
    su = size * 0.5 + (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) / texel
    sv = size * 0.5 + (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) / texel
    h = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + slack
    if su < 1 or sv < 1 or su >= size - 1 or sv >= size - 1:
        return 1.0
    lit = 0.0
    cos, sin = soft * _TURNS[turn, 0], soft * _TURNS[turn, 1]
    for k in range(6):
        tx, ty = _TAPS[k]
        column = min(size - 1, max(0, int(su + tx * cos - ty * sin)))
        row = min(size - 1, max(0, int(sv + tx * sin + ty * cos)))
        over = height_map[row, column] - h
        lit += 1.0 if over < 0.0 else 0.0
    return lit / 6.0
