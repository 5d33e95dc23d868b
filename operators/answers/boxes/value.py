"""Things in boxes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plantain.operators.types import Value


@dataclass(frozen=True, slots=True)
class Boxes(Value):
    """Things that a detector found; they may overlap.

    Attributes:
        xyxy: (N, 4) float32 `x1, y1, x2, y2` in pixel edges of the source picture, whatever the model's canvas was
            (`Letterbox.to_source` makes them of boxes on the canvas's picture).
        names: What is in each box.
        scores: (N,) float32 in [0, 1], the model's own confidence.
        track_ids: Identity over time of each thing; None for one without, empty before tracking.
        distances_m: Median depth in the middle of each box in metres; None where there is none, empty before the
            analysis.
    """

    xyxy: NDArray[np.float32] = field(repr=False)
    names: tuple[str, ...]
    scores: NDArray[np.float32]
    track_ids: tuple[int | None, ...] = ()
    distances_m: tuple[float | None, ...] = ()
