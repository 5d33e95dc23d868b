"""How far away everything is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.codec import Painted


class Lens(NamedTuple):
    """The field of view that distances follow from.

    Attributes:
        hfov_deg: Horizontal, of the whole source picture, degrees.
        error: Mean error of its focal length as a share: 0 where that was told, None where the model that estimated it
            does not say.
    """

    hfov_deg: float
    error: float | None = None

    @classmethod
    def of_focal(cls, focal: float, error: float | None = None) -> Lens:
        """The lens of a focal length in widths of the picture."""
        return cls(2 * math.degrees(math.atan(0.5 / focal)), error)

    @property
    def focal(self) -> float:
        """Its focal length in widths of the picture."""
        return 0.5 / math.tan(math.radians(self.hfov_deg) / 2)


@dataclass(frozen=True, slots=True)
class DepthMap(Painted):
    """Distance along the optical axis.

    Attributes:
        depth_m: (H, W) float32 metres, 0 where invalid.
        valid: (H, W) bool; False where the colour has no finite depth (the sky) or is far from every legal colour.
        off_palette: Share of pixels far from every legal colour.
        lens: Through which the picture was taken, as it was told or estimated; None where the model asks for none.
    """

    depth_m: NDArray[np.float32] = field(repr=False)
    valid: NDArray[np.bool_] = field(repr=False)
    off_palette: float
    lens: Lens | None = None
