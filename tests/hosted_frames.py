"""Frames for models that are asked over HTTP."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from plantain.operators.geometry import Letterbox
from plantain.operators.types import Frame, FrameInfo, Header


def frame(
    number: int = 0,
    *,
    stream: str = "clip",
    source_hw: tuple[int, int] = (40, 80),
    model_hw: tuple[int, int] = (64, 96),
) -> Frame:
    """Coarse noise in a letterbox, another for each number; 25 frames a second."""
    fit = Letterbox.fit(source_hw, model_hw)
    rng = np.random.default_rng(number)
    coarse = rng.integers(20, 255, (-(-fit.height // 8), -(-fit.width // 8), 3))
    picture = np.kron(coarse, np.ones((8, 8, 1)))[: fit.height, : fit.width].astype(np.uint8)
    info = FrameInfo(number, Fraction(1, 25), None, "file", fit)
    return Frame(Header(stream, 0, number), info, np.ascontiguousarray(fit.place(picture)))
