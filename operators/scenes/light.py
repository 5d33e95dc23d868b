"""Sun, sky, fog and darkness of a scene, and the map of the sun's shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from operators.scenes import shading
from operators.scenes.raster import rasterise_from_light

WEATHERS = ("sunny", "hazy", "overcast", "dusk", "night", "rain", "fog")
MAP_SIZE = 640


@dataclass(frozen=True, slots=True)
class Light:
    """How a scene is lit.

    Attributes:
        weather: One of `WEATHERS`.
        vector: The numbers that shading reads.
        is_dark: Whether lamps are on.
        rain: Strength of falling rain, 0..1.
    """

    weather: str
    vector: NDArray[np.float64]
    is_dark: bool
    rain: float


def choose_light(rng: np.random.Generator) -> Light:
    """A random time of day and weather."""
    weather = str(rng.choice(WEATHERS, p=[0.3, 0.14, 0.22, 0.1, 0.13, 0.07, 0.04]))
    v = np.zeros(shading.NUM_LIGHT)
    elevation = np.deg2rad(
        {"dusk": rng.uniform(3, 14), "sunny": rng.uniform(18, 70)}.get(weather, rng.uniform(25, 65))
    )
    azimuth = rng.uniform(0, 2 * np.pi)
    v[:3] = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
    zenith, horizon, sun = {
        "sunny": ((0.22, 0.42, 0.85), (0.75, 0.88, 1.0), (2.6, 2.35, 2.0)),
        "hazy": ((0.45, 0.58, 0.8), (0.95, 0.97, 1.0), (1.5, 1.35, 1.15)),
        "overcast": ((0.75, 0.78, 0.83), (0.95, 0.96, 0.98), (0.0, 0.0, 0.0)),
        "dusk": ((0.16, 0.22, 0.45), (0.9, 0.55, 0.35), (1.1, 0.55, 0.25)),
        "night": ((0.006, 0.009, 0.02), (0.03, 0.03, 0.04), (0.0, 0.0, 0.0)),
        "rain": ((0.42, 0.45, 0.5), (0.6, 0.63, 0.68), (0.0, 0.0, 0.0)),
        "fog": ((0.8, 0.82, 0.84), (0.82, 0.84, 0.86), (0.0, 0.0, 0.0)),
    }[weather]
    if weather == "sunny" and rng.uniform() < 0.4:
        zenith, horizon = (0.1, 0.24, 0.6), (0.42, 0.6, 0.85)  # a deep blue sky in dry air
    tint = rng.normal(1.0, 0.07, 3)
    v[shading.ZENITH : shading.ZENITH + 3] = np.asarray(zenith) * tint * rng.uniform(0.7, 1.2)
    v[shading.HORIZON : shading.HORIZON + 3] = np.asarray(horizon) * tint * rng.uniform(0.8, 1.1)
    v[shading.SUN_COLOUR : shading.SUN_COLOUR + 3] = (
        np.asarray(sun) * rng.normal(1, 0.06, 3) * rng.uniform(0.75, 1.15)
    )
    sky = (v[shading.ZENITH : shading.ZENITH + 3] + v[shading.HORIZON : shading.HORIZON + 3]) / 2
    sun_now = v[shading.SUN_COLOUR : shading.SUN_COLOUR + 3]
    v[shading.BOUNCE : shading.BOUNCE + 3] = (sky + sun_now * np.sin(elevation)) * rng.uniform(0.14, 0.26)
    thick = {
        "fog": rng.uniform(0.008, 0.032),
        "rain": rng.uniform(0.002, 0.008),
        "hazy": rng.uniform(0.001, 0.004),
    }
    v[shading.FOG_DENSITY] = thick.get(weather, rng.uniform(0.0, 0.0015))
    v[shading.FOG_COLOUR : shading.FOG_COLOUR + 3] = v[shading.HORIZON : shading.HORIZON + 3] * rng.uniform(
        0.85, 1.0
    )
    is_wet = weather == "rain" or rng.uniform() < 0.12
    v[shading.WET] = rng.uniform(0.4, 1.0) if is_wet else 0.0
    ambient_only = weather in ("overcast", "night", "rain", "fog")
    v[shading.SHADOW_AMBIENT] = float(ambient_only)
    if ambient_only:
        v[:3] = np.array([rng.normal(0, 0.15), rng.normal(0, 0.15), 1.0])
        v[:3] /= np.linalg.norm(v[:3])
    v[shading.SHADOW_SOFT] = 7.0 if ambient_only else rng.uniform(0.6, 2.5)
    v[shading.CLOUDS] = {
        "sunny": rng.uniform(0, 0.7),
        "hazy": rng.uniform(0, 0.6),
        "overcast": rng.uniform(0.4, 1),
    }.get(weather, rng.uniform(0, 0.8) if weather == "dusk" else 0.0)
    v[shading.SKY_SEED] = rng.integers(1 << 16)
    v[shading.FAR_M] = 350.0
    return Light(
        weather,
        v,
        weather == "night" or (weather == "dusk" and rng.uniform() < 0.5),
        rng.uniform(0.3, 1) if weather == "rain" else 0.0,
    )


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
