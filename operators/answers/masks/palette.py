"""The nearest of a few colours, exactly and fast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.colours import RGB
from plantain.operators.compiled import compiled

# Cells of 8 levels a side: the lists of all 32,768 stay in the second-level cache, and for 20 colours far
# apart most of them name one or two.
CELL_BITS = 3
CELLS_A_SIDE = 256 >> CELL_BITS

_FARTHER = 1 << 40
"""More than any squared distance."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which colour each pixel of a drawing is nearest to, and how near.

    Attributes:
        index: (H, W) uint16.
        areas: (K,) pixels of each colour.
        distances: (K,) sum of their distances to it, in levels.
        far: How many pixels are farther than the tolerance from every colour.
    """

    index: NDArray[np.uint16]
    areas: NDArray[np.int64]
    distances: NDArray[np.float64]
    far: int


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours, and for each cell of the RGB cube those that can be the nearest to some colour in it.

    Attributes:
        colours: (K, 3) int32.
        first: (32769,) int32; cell i's candidates are `candidates[first[i] : first[i + 1]]`. Cells are
            numbered with red slowest and blue fastest.
        candidates: Indices into `colours`, rising within a cell, so that the earlier colour wins a tie.
    """

    colours: NDArray[np.int32]
    first: NDArray[np.int32]
    candidates: NDArray[np.uint16]

    @classmethod
    def of(cls, colours: NDArray[np.uint8]) -> Palette:
        """The palette of (K, 3) uint8 colours, at least one."""
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

    def assign(self, rgb: NDArray[np.uint8], tolerance: float = float("inf")) -> Assignment:
        """The colour nearest to each pixel (H, W, 3) in Euclidean distance, ties to the earlier colour.

        Args:
            rgb: (H, W, 3) uint8.
            tolerance: Distance in levels beyond which a pixel is far from all colours.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        channels = pixels.flat(rgb)
        index = np.empty(rgb.shape[:2], np.uint16)
        areas = np.zeros(len(self.colours), np.int64)
        distances = np.zeros(len(self.colours), np.float64)
        far = _assign(
            channels,
            self.colours,
            self.first,
            self.candidates,
            tolerance,
            index.reshape(-1),
            areas,
            distances,
        )
        return Assignment(index, areas, distances, far)

    def table(self) -> NDArray[np.uint8]:
        """Index of the nearest of at most 256 colours for every colour, (256, 256, 256) by red, green, blue.

        16 MiB, made in about 0.2 s: worth it where many of the colours are near to one another.
        """
        index = np.empty((256, 256, 256), np.uint8)
        _tabulate(self.colours, self.first, self.candidates, index)
        index.flags.writeable = False
        return index


@lru_cache(maxsize=64)
def palette_of(colours: tuple[RGB, ...]) -> Palette:
    """The palette of these colours, kept for prompts that are asked again and again (about 200 kB each)."""
    return Palette.of(np.array(colours, np.uint8).reshape(-1, 3))


@compiled()
def _find_candidates(
    colours: NDArray[np.int32], first: NDArray[np.int32], candidates: NDArray[np.uint16]
) -> None:
    """Counts the cells' candidates in `first`, and writes them to `candidates` unless that is empty.

    A colour is no candidate when it is farther from the nearest point of the cell than another colour is from
    the farthest one.
    """
    count = len(colours)
    nearest_sq = np.empty(count, np.int64)
    last = (1 << CELL_BITS) - 1
    total = 0
    for cell in range(CELLS_A_SIDE**3):
        low = (
            (cell // CELLS_A_SIDE**2) << CELL_BITS,
            (cell // CELLS_A_SIDE % CELLS_A_SIDE) << CELL_BITS,
            (cell % CELLS_A_SIDE) << CELL_BITS,
        )
        bound = _FARTHER
        for k in range(count):
            farthest_sq = 0
            nearest_sq[k] = 0
            for axis in range(3):
                below = low[axis] - int(colours[k, axis])
                above = -below - last
                outside = max(0, below, above)
                reach = max(abs(below), abs(above))
                nearest_sq[k] += outside * outside
                farthest_sq += reach * reach
            bound = min(bound, farthest_sq)
        for k in range(count):
            if nearest_sq[k] <= bound:
                if len(candidates):
                    candidates[total] = k
                total += 1
        first[cell + 1] = total


@compiled()
def _assign(
    rgb: NDArray[np.uint8],
    colours: NDArray[np.int32],
    first: NDArray[np.int32],
    candidates: NDArray[np.uint16],
    tolerance: float,
    index: NDArray[np.uint16],
    areas: NDArray[np.int64],
    distances: NDArray[np.float64],
) -> int:
    """Fills `index` (N,), adds to `areas` and `distances` (K,); returns how many pixels are far."""
    far = 0
    for i in range(len(index)):
        red, green, blue = np.int64(rgb[3 * i]), np.int64(rgb[3 * i + 1]), np.int64(rgb[3 * i + 2])
        cell = ((red >> CELL_BITS) * CELLS_A_SIDE + (green >> CELL_BITS)) * CELLS_A_SIDE + (blue >> CELL_BITS)
        best = np.int64(0)
        best_sq = np.int64(_FARTHER)
        for j in range(first[cell], first[cell + 1]):
            k = np.int64(candidates[j])
            dr, dg, db = red - colours[k, 0], green - colours[k, 1], blue - colours[k, 2]
            distance_sq = dr * dr + dg * dg + db * db
            if distance_sq < best_sq:
                best_sq = distance_sq
                best = k
        distance = np.sqrt(np.float64(best_sq))
        index[i] = best
        areas[best] += 1
        distances[best] += distance
        far += distance > tolerance
    return far


@compiled()
def _tabulate(
    colours: NDArray[np.int32],
    first: NDArray[np.int32],
    candidates: NDArray[np.uint16],
    index: NDArray[np.uint8],
) -> None:
    """Fills `index` (256, 256, 256), cell by cell and candidate by candidate.

    A key is a squared distance (18 bits) times 256, plus the colour's index: the smallest is the nearest, the
    earlier of equals. In 32 bits, so that the innermost loop is vectorised.
    """
    side = 1 << CELL_BITS
    keys = np.empty((side * side, side), np.int32)
    for cell in range(CELLS_A_SIDE**3):
        red = (cell // CELLS_A_SIDE**2) << CELL_BITS
        green = (cell // CELLS_A_SIDE % CELLS_A_SIDE) << CELL_BITS
        blue = (cell % CELLS_A_SIDE) << CELL_BITS
        keys[:] = np.iinfo(np.int32).max
        for j in range(first[cell], first[cell + 1]):
            k = candidates[j]
            for line in range(side * side):
                dr = red + line // side - colours[k, 0]
                dg = green + line % side - colours[k, 1]
                base = np.int32((dr * dr + dg * dg) * 256 + k)
                start = np.int32(blue - colours[k, 2])
                for b in range(side):
                    db = np.int32(start + np.int32(b))
                    key = np.int32(base + np.int32(np.int32(db * db) * np.int32(256)))
                    keys[line, b] = min(keys[line, b], key)
        for line in range(side * side):
            for b in range(side):
                index[red + line // side, green + line % side, blue + b] = keys[line, b] & 255
