"""What colour things have in a drawn frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.colormaps import colormap
from plantain.operators.colours import RGB
from plantain.operators.prompts import DepthCurve, Prompt
from plantain.operators.types import Masks

BACKDROP: RGB = (18, 20, 26)
INK: RGB = (236, 239, 244)
FAINT: RGB = (150, 158, 172)
# Objects: bright on asphalt and foliage, well apart, stable for a track as its id picks the colour.
OBJECT_COLOURS: tuple[RGB, ...] = (
    (255, 99, 72),
    (46, 196, 255),
    (255, 200, 40),
    (140, 233, 90),
    (214, 120, 255),
    (255, 140, 190),
    (60, 230, 190),
    (255, 160, 60),
    (120, 150, 255),
    (220, 230, 80),
)
REFERRED: RGB = (255, 214, 10)
DEPTH_TICKS_M = (1, 2, 5, 10, 20, 50, 100)

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def object_colour(masks: Masks, number: int) -> RGB:
    """The colour in which object `number` of an instance prompt is drawn; a track keeps its own."""
    identity = masks.track_ids[number] if masks.track_ids else None
    return OBJECT_COLOURS[(number if identity is None else identity) % len(OBJECT_COLOURS)]


def depth_scale(curve: DepthCurve, length: int) -> tuple[Pixels, dict[int, float]]:
    """The colours of depth from the camera to infinity, and where in [0, 1) round distances stand.

    Args:
        curve: The prompt's.
        length: How many colours.

    Returns:
        (length, 3) uint8 RGB, and the place of each of `DEPTH_TICKS_M`.
    """
    colours = colormap("inferno")[_shade(np.linspace(0, 1, length, dtype=np.float32))]
    places = _place_on_scale(np.array(DEPTH_TICKS_M, np.float32), curve)
    return colours, dict(zip(DEPTH_TICKS_M, places.tolist(), strict=True))


def class_colour(prompt: Prompt, name: str) -> RGB:
    """The colour that the prompt gives a class."""
    return (
        prompt.palette[prompt.classes.index(name)] if name in prompt.classes and prompt.palette else REFERRED
    )


def _place_on_scale(depth_m: Floats, curve: DepthCurve) -> Floats:
    """0 at the camera, 1 at infinity, by the prompt's own curve: the scale is the same in every frame."""
    return (1 - (1 - depth_m / (curve.lam * curve.c)) ** (curve.lam + 1)).astype(np.float32)


def depth_colours(depth_m: Floats, curve: DepthCurve) -> Pixels:
    """Near is bright, far is dark."""
    place = _place_on_scale(depth_m, curve)
    return colormap("inferno")[_shade(place)]


def _shade(place: Floats) -> NDArray[np.uint8]:
    """Which colour of the map stands for a place on the scale; its darkest are left to the backdrop."""
    return (250 - place * 225).astype(np.uint8)
