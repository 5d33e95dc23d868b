"""Class masks drawn in a prompt's palette, semantic or referring (Vision Banana, section 3.1)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.codecs import pixels
from operators.codecs.palette import CELL_BITS, CELLS_A_SIDE, palette_of
from operators.errors import CodecError
from operators.prompts import Prompt
from operators.types import Masks, Value

# Generators miss a requested colour by up to 7 levels, with up to 9 levels of noise in each channel (16 in all three
# together), so 23 levels are still drawn on purpose and 28, twice the tolerance of the instance decoder, are not.
MAX_DISTANCE = 28.0


class MasksCodec:
    """Every pixel goes to the colour of the legend that is nearest in RGB; the background is one of them.

    Exact integer arithmetic; a tie goes to the background, then to the class that the prompt names first.
    """

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> Masks:
        """The regions of a drawing (H, W, 3) uint8 in `prompt.palette` on `prompt.background`.

        Returns:
            Regions numbered 1..N over the classes that have a pixel, in the prompt's order. A region's score is one
            minus its mean distance to the colour of its class as a share of the tolerance, at least 0; the tolerance
            is `MAX_DISTANCE`, or half the smallest gap of the palette where that is less, so that a pixel within it has
            no second colour as near. `off_palette` is the share of pixels farther than the tolerance from every colour.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        flat = pixels.flat(rgb)
        palette = palette_of((prompt.background, *prompt.palette))
        tolerance = min(MAX_DISTANCE, palette.gap() / 2)
        labels = np.empty(len(flat), np.uint16)
        areas = np.zeros(len(palette.colours), np.int64)
        distances = np.zeros(len(palette.colours), np.float64)
        far = _decode(
            flat, palette.colours, palette.first, palette.candidates, tolerance, labels, areas, distances
        )
        present = [k for k in range(1, len(areas)) if areas[k]]
        if len(present) + 1 < len(areas):
            number = np.zeros(len(areas), np.uint16)
            number[present] = np.arange(1, len(present) + 1)
            _renumber(labels, number)
        scores = 1.0 - distances[present] / areas[present] / tolerance
        return Masks(
            labels.reshape(rgb.shape[:2]),
            tuple(prompt.classes[k - 1] for k in present),
            np.clip(scores, 0.0, 1.0).astype(np.float32),
            far / max(1, len(flat)),
        )

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:
        """The drawing (H, W, 3) uint8 of regions whose names are classes of the prompt.

        Raises:
            CodecError: If `value` is no Masks, a region has a name that the prompt does not know, or a label no name.
        """
        masks = pixels.expect(value, Masks, "masks")
        unknown = sorted({*masks.names} - {*prompt.classes})
        if unknown:
            raise CodecError(f"regions {', '.join(unknown)} have no colour in '{prompt}'")
        names = [prompt.palette[prompt.classes.index(name)] for name in masks.names]
        return draw(masks, np.array([prompt.background, *names], np.uint8))


def draw(masks: Masks, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The drawing (H, W, 3) uint8 that gives label k the colour `colours[k]`.

    Raises:
        CodecError: If the label map is not (H, W) of integers, or holds a label without a colour.
    """
    labels = masks.labels
    if labels.ndim != 2 or labels.dtype.kind != "u":
        raise CodecError(f"a label map must be (H, W) uint16, not {labels.shape} {labels.dtype}")
    highest = int(labels.max(initial=0))
    if highest >= len(colours):
        raise CodecError(f"label {highest} has no name: the value names {len(colours) - 1} regions")
    return colours[labels]


@njit(cache=True, nogil=True)
def _decode(
    rgb: NDArray[np.uint8],
    colours: NDArray[np.int32],
    first: NDArray[np.int32],
    candidates: NDArray[np.uint16],
    tolerance: float,
    labels: NDArray[np.uint16],
    areas: NDArray[np.int64],
    distances: NDArray[np.float64],
) -> int:
    """Fills `labels` (N,), and each colour's pixel count and sum of distances (K,); returns how many are far."""
    far = 0
    for i in range(len(rgb)):
        red, green, blue = np.int32(rgb[i, 0]), np.int32(rgb[i, 1]), np.int32(rgb[i, 2])
        cell = (((red >> CELL_BITS) * CELLS_A_SIDE + (green >> CELL_BITS)) * CELLS_A_SIDE) + (
            blue >> CELL_BITS
        )
        best = candidates[first[cell]]
        best_sq = np.int64(1 << 40)
        for j in range(first[cell], first[cell + 1]):
            k = candidates[j]
            dr, dg, db = red - colours[k, 0], green - colours[k, 1], blue - colours[k, 2]
            distance_sq = dr * dr + dg * dg + db * db
            if distance_sq < best_sq:
                best_sq = distance_sq
                best = k
        distance = np.sqrt(np.float64(best_sq))
        labels[i] = best
        areas[best] += 1
        distances[best] += distance
        far += distance > tolerance
    return far


@njit(cache=True, nogil=True)
def _renumber(labels: NDArray[np.uint16], number: NDArray[np.uint16]) -> None:
    """Replaces each label k by `number[k]`, in place."""
    for i in range(len(labels)):
        labels[i] = number[labels[i]]
