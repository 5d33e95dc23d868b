"""A picture as an answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.codec import Painted


@dataclass(frozen=True, slots=True)
class Image(Painted):
    """A drawing that is its own answer.

    Attributes:
        rgb: (H, W, 3) uint8.
        off_palette: Always 0.
    """

    rgb: NDArray[np.uint8] = field(repr=False)
    off_palette: float = 0.0
