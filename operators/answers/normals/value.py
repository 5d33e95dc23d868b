"""Which way surfaces face."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.codec import Painted


@dataclass(frozen=True, slots=True)
class NormalMap(Painted):
    """Surface directions in the camera frame: +x right, +y up, +z to the viewer.

    Attributes:
        normals: (H, W, 3) float32, unit length, 0 where invalid.
        valid: (H, W) bool; False where there is no surface, or the drawn vector is too short or long to mean one.
        off_palette: Share of pixels whose drawn vector is neither of about unit length nor the gray of no surface.
    """

    normals: NDArray[np.float32] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    off_palette: float
