"""Regions of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers.codec import Painted


@dataclass(frozen=True, slots=True)
class Masks(Painted):
    """Regions that do not overlap.

    Attributes:
        labels: (H, W) uint16 label map; 0 is background, k is region k - 1 of the tuples below.
        names: What each region shows.
        scores: (N,) float32 in [0, 1], confidence in each region: the model's own, or how purely it is drawn.
        off_palette: Share of pixels far from every legal colour.
        track_ids: Identity over time of each region; None for a region without one, empty before tracking.
        distances_m: Median depth of each region in metres, where the same frame was asked for depth; None where
            there is none, empty before the analysis.
    """

    labels: NDArray[np.uint16] = field(repr=False)
    names: tuple[str, ...]
    scores: NDArray[np.float32]
    off_palette: float
    track_ids: tuple[int | None, ...] = ()
    distances_m: tuple[float | None, ...] = ()

    def numbered_as(self, names: Sequence[str]) -> NDArray[np.uint16]:
        """(H, W), for each pixel 1 + the index in `names` of what its region shows; 0 for none of them."""
        table = np.array(
            [0, *(names.index(name) + 1 if name in names else 0 for name in self.names)], np.uint16
        )
        numbers: NDArray[np.uint16] = table[self.labels]
        return numbers
