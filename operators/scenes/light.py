"""Sun, sky, fog and darkness of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WEATHERS = ("sunny", "hazy", "overcast", "dusk", "night", "rain", "fog")

# Columns of the light's vector.
SUN, SUN_COLOUR, ZENITH, HORIZON, BOUNCE, FOG_DENSITY, FOG_COLOUR, WET = 0, 3, 6, 9, 12, 15, 16, 19
SHADOW_TEXEL, SHADOW_SOFT, SHADOW_AMBIENT, CLOUDS, SKY_SEED, FAR_M, NUM_LIGHT = 20, 21, 22, 23, 24, 25, 28


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

    @property
    def is_wet(self) -> bool:
        """Whether water stands on the ground."""
        return bool(self.vector[WET] > 0)


def choose_light(rng: np.random.Generator) -> Light:
    """A random time of day and weather."""
    weather = str(rng.choice(WEATHERS, p=[0.3, 0.14, 0.22, 0.1, 0.13, 0.07, 0.04]))
    v = np.zeros(NUM_LIGHT)
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
    v[ZENITH : ZENITH + 3] = np.asarray(zenith) * tint * rng.uniform(0.7, 1.2)
    v[HORIZON : HORIZON + 3] = np.asarray(horizon) * tint * rng.uniform(0.8, 1.1)
    v[SUN_COLOUR : SUN_COLOUR + 3] = np.asarray(sun) * rng.normal(1, 0.06, 3) * rng.uniform(0.75, 1.15)
    sky = (v[ZENITH : ZENITH + 3] + v[HORIZON : HORIZON + 3]) / 2
    sun_now = v[SUN_COLOUR : SUN_COLOUR + 3]
    v[BOUNCE : BOUNCE + 3] = (sky + sun_now * np.sin(elevation)) * rng.uniform(0.14, 0.26)
    thick = {
        "fog": rng.uniform(0.008, 0.032),
        "rain": rng.uniform(0.002, 0.008),
        "hazy": rng.uniform(0.001, 0.004),
    }
    v[FOG_DENSITY] = thick.get(weather, rng.uniform(0.0, 0.0015))
    v[FOG_COLOUR : FOG_COLOUR + 3] = v[HORIZON : HORIZON + 3] * rng.uniform(0.85, 1.0)
    is_wet = weather == "rain" or rng.uniform() < 0.12
    v[WET] = rng.uniform(0.4, 1.0) if is_wet else 0.0
    ambient_only = weather in ("overcast", "night", "rain", "fog")
    v[SHADOW_AMBIENT] = float(ambient_only)
    if ambient_only:
        v[:3] = np.array([rng.normal(0, 0.15), rng.normal(0, 0.15), 1.0])
        v[:3] /= np.linalg.norm(v[:3])
    v[SHADOW_SOFT] = 7.0 if ambient_only else rng.uniform(0.6, 2.5)
    v[CLOUDS] = {
        "sunny": rng.uniform(0, 0.7),
        "hazy": rng.uniform(0, 0.6),
        "overcast": rng.uniform(0.4, 1),
    }.get(weather, rng.uniform(0, 0.8) if weather == "dusk" else 0.0)
    v[SKY_SEED] = rng.integers(1 << 16)
    v[FAR_M] = 350.0
    return Light(
        weather,
        v,
        weather == "night" or (weather == "dusk" and rng.uniform() < 0.5),
        rng.uniform(0.3, 1) if weather == "rain" else 0.0,
    )
