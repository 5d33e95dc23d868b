"""What colour depth has in a drawn frame: near is bright, far is dark, the same in every frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.depth.colormaps import colormap
from plantain.operators.answers.sketch import Pixels, Scale
from plantain.operators.prompts import DepthCurve

TICKS_M = (1, 2, 5, 10, 20, 50, 100)

Floats = NDArray[np.float32]


def depth_scale(curve: DepthCurve, length: int) -> Scale:
    """The colours of depth from the camera to infinity, and where round distances stand on the prompt's own scale."""
    colours = colormap("inferno")[_shade(np.linspace(0, 1, length, dtype=np.float32))]
    places = _place_on_scale(np.array(TICKS_M, np.float32), curve)
    return Scale(colours, dict(zip(TICKS_M, places.tolist(), strict=True)))


def depth_colours(depth_m: Floats, curve: DepthCurve) -> Pixels:
    """The colour (H, W, 3) of each depth (H, W)."""
    return colormap("inferno")[_shade(_place_on_scale(depth_m, curve))]


def _place_on_scale(depth_m: Floats, curve: DepthCurve) -> Floats:
    """0 at the camera, 1 at infinity, by the prompt's own curve: the scale is the same in every frame."""
    return (1 - (1 - depth_m / (curve.lam * curve.c)) ** (curve.lam + 1)).astype(np.float32)


def _shade(place: Floats) -> NDArray[np.uint8]:
    """Which colour of the map stands for a place on the scale; its darkest are left to the backdrop."""
    return (250 - place * 225).astype(np.uint8)
