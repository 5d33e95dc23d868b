"""The nearest of a few colours, exactly and fast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.codecs import pixels
from operators.colours import RGB

# Cells of 8 levels a side: 32,768 of them, which stays in the second-level cache, and over most of the cube only one
# or two of 20 spread colours can be the nearest to a colour of one cell.
CELL_BITS = 3
CELLS_A_SIDE = 256 >> CELL_BITS


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours, and for each cell of the RGB cube those that can be the nearest to some colour in it.

    Attributes:
        colours: (K, 3) int32.
        first: (32769,) int32; cell i's candidates are `candidates[first[i] : first[i + 1]]`. Cells are numbered with
            red slowest and blue fastest.
        candidates: Indices into `colours`, rising within a cell, so that the earlier colour wins a tie.
    """

    colours: NDArray[np.int32]
    first: NDArray[np.int32]
    candidates: NDArray[np.uint16]

    @classmethod
    def of(cls, colours: NDArray[np.uint8]) -> Palette:
        """The palette of (K, 3) uint8 colours."""
        table = colours.astype(np.int32)
        first = np.zeros(CELLS_A_SIDE**3 + 1, np.int32)
        _find_candidates(table, first, np.empty(0, np.uint16))
        candidates = np.empty(first[-1], np.uint16)
        _find_candidates(table, first, candidates)
        for array in (table, first, candidates):
            array.flags.writeable = False
        return cls(table, first, candidates)

    def gap(self) -> float:
        """The smallest distance between two of the colours, in levels; infinite for a single colour."""
        steps = self.colours[:, None, :] - self.colours[None, :, :]
        squared = (steps**2).sum(axis=2)
        between = squared[np.triu_indices(len(self.colours), 1)]
        return float(np.sqrt(between.min())) if len(between) else float("inf")

    def nearest(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Index (H, W) of the colour nearest to each pixel (H, W, 3) in Euclidean distance; ties to the earlier."""
        flat = pixels.flat(rgb)
        index = np.empty(len(flat), np.uint16)
        _nearest(flat, self.colours, self.first, self.candidates, index)
        return index.reshape(rgb.shape[:2])


@lru_cache(maxsize=64)
def palette_of(colours: tuple[RGB, ...]) -> Palette:
    """The palette of these colours, kept for the prompts that are asked again and again (130 kB each)."""
    return Palette.of(np.array(colours, np.uint8).reshape(-1, 3))


@njit(cache=True, nogil=True)
def _find_candidates(
    colours: NDArray[np.int32], first: NDArray[np.int32], candidates: NDArray[np.uint16]
) -> None:
    """Writes the cells' counts to `first`, or, when `candidates` is long enough to be filled, the candidates.

    A colour is no candidate when its distance to the nearest point of the cell is larger than another one's distance
    to the farthest point.
    """
    count = len(colours)
    nearest_sq = np.empty(count, np.int64)
    total = 0
    cell = 0
    last = (1 << CELL_BITS) - 1
    for red in range(0, 256, last + 1):
        for green in range(0, 256, last + 1):
            for blue in range(0, 256, last + 1):
                bound = np.int64(1 << 40)
                for k in range(count):
                    farthest_sq = 0
                    nearest_sq[k] = 0
                    for axis, low in enumerate((red, green, blue)):
                        below = np.int64(low) - colours[k, axis]
                        above = np.int64(colours[k, axis]) - low - last
                        inside = max(0, max(below, above))
                        reach = max(abs(below), abs(above))
                        nearest_sq[k] += inside * inside
                        farthest_sq += reach * reach
                    bound = min(bound, farthest_sq)
                for k in range(count):
                    if nearest_sq[k] <= bound:
                        if len(candidates):
                            candidates[total] = k
                        total += 1
                cell += 1
                first[cell] = total


@njit(cache=True, nogil=True)
def _nearest(
    rgb: NDArray[np.uint8],
    colours: NDArray[np.int32],
    first: NDArray[np.int32],
    candidates: NDArray[np.uint16],
    index: NDArray[np.uint16],
) -> None:
    """Fills `index` (N,) with the nearest colour of each pixel (N, 3)."""
    for i in range(len(rgb)):
        red, green, blue = np.int32(rgb[i, 0]), np.int32(rgb[i, 1]), np.int32(rgb[i, 2])
        cell = (((red >> CELL_BITS) * CELLS_A_SIDE + (green >> CELL_BITS)) * CELLS_A_SIDE) + (
            blue >> CELL_BITS
        )
        best = candidates[first[cell]]
        if first[cell + 1] - first[cell] > 1:
            best_sq = np.int64(1 << 40)
            for j in range(first[cell], first[cell + 1]):
                k = candidates[j]
                dr, dg, db = red - colours[k, 0], green - colours[k, 1], blue - colours[k, 2]
                distance_sq = dr * dr + dg * dg + db * db
                if distance_sq < best_sq:
                    best_sq = distance_sq
                    best = k
        index[i] = best
