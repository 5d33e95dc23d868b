"""Class masks drawn in a prompt's palette, semantic or referring (Vision Banana, section 3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.answers.masks.palette import palette_of
from plantain.operators.answers.masks.value import Masks
from plantain.operators.compiled import compiled
from plantain.operators.errors import CodecError
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value

# Generators miss a requested colour by up to 7 levels, with up to 9 levels of noise in each channel (16 in
# all three together): 23 levels off is still meant. 28 is twice the tolerance of the instance decoder.
MAX_DISTANCE = 28.0


class MasksCodec:
    """Every pixel goes to the colour of the legend that is nearest in RGB; the background is one of them.

    Integer arithmetic, so exact; a tie goes to the background, then to the class that the prompt names first.
    """

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> Masks:
        """The regions of a drawing (H, W, 3) uint8 in `prompt.palette` on `prompt.background`.

        Returns:
            Regions numbered 1..N over the classes that have a pixel, in the prompt's order. A region's score
            is one minus its mean distance to the colour of its class as a share of the tolerance, at least 0.
            The tolerance is `MAX_DISTANCE`, or half the smallest gap of the palette where that is less, so
            that a pixel within it is as near to no other colour. `off_palette`: share of pixels beyond it.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        palette = palette_of((prompt.background, *prompt.palette))
        tolerance = min(MAX_DISTANCE, palette.gap() / 2)
        found = palette.assign(rgb, tolerance)
        labels = found.index
        present = np.flatnonzero(found.areas[1:]) + 1
        if len(present) + 1 < len(found.areas):
            number = np.zeros(len(found.areas), np.uint16)
            number[present] = np.arange(1, len(present) + 1)
            _renumber(labels.reshape(-1), number)
        scores = 1.0 - found.distances[present] / found.areas[present] / tolerance
        return Masks(
            labels,
            tuple(prompt.classes[k - 1] for k in present),
            np.clip(scores, 0.0, 1.0).astype(np.float32),
            found.far / max(1, labels.size),
        )

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:
        """The drawing (H, W, 3) uint8 of regions whose names are classes of the prompt.

        Raises:
            CodecError: If `value` is no Masks, a region is no class of the prompt, or a label has no name.
        """
        masks = pixels.expect(value, Masks, "masks")
        unknown = sorted({*masks.names} - {*prompt.classes})
        if unknown:
            raise CodecError(f"regions {', '.join(unknown)} have no colour in '{prompt}'")
        return draw(masks, tuple(prompt.palette[prompt.classes.index(name)] for name in masks.names), prompt)


def draw(masks: Masks, palette: tuple[tuple[int, int, int], ...], prompt: Prompt) -> NDArray[np.uint8]:
    """The drawing (H, W, 3) uint8 that gives region k the k-th colour, and the rest the prompt's background.

    Raises:
        CodecError: If the label map is not (H, W) uint16, or holds a label without a name.
    """
    labels = masks.labels
    if labels.ndim != 2 or labels.dtype != np.uint16:
        raise CodecError(f"a label map must be (H, W) uint16, not {labels.shape} {labels.dtype}")
    highest = int(labels.max(initial=0))
    if highest > len(palette):
        raise CodecError(f"label {highest} has no name: the value names {len(palette)} regions")
    return pixels.paint(np.array([prompt.background, *palette], np.uint8), labels)


@compiled()
def _renumber(labels: NDArray[np.uint16], number: NDArray[np.uint16]) -> None:
    """Replaces each label (N,) by its number (K,), in place."""
    for i in range(len(labels)):
        labels[i] = number[labels[i]]
