"""How far away everything is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.codec import Painted


@dataclass(frozen=True, slots=True)
class DepthMap(Painted):
    """Distance along the optical axis.

    Attributes:
        depth_m: (H, W) float32 metres, 0 where invalid.
        valid: (H, W) bool; False where the colour has no finite depth (the sky) or is far from every legal colour.
        off_palette: Share of pixels far from every legal colour.
    """

    depth_m: NDArray[np.float32] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    off_palette: float
