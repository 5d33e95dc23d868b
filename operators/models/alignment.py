"""Whether a drawing lies on its frame: generators are known to shift what they draw by some pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.models.base import Pixels

MAX_SHIFT_PX = 2.0
"""A drawing that is further off says something of other pixels than it seems to."""

# The best shift must stand out so much from the mean of all, in standard deviations: among edges that have nothing to
# do with one another it reached 6.7 (100 pairs of noise), of three things and what is drawn of them 52 (2026-11-29).
_DISTINCT = 12.0


def shift_px(picture: Pixels, drawing: Pixels) -> tuple[int, int] | None:
    """How far a drawing is off, down and to the right, in pixels; None where its edges do not tell.

    The phase correlation of the edges of both: where one has an edge, so has the other, whatever the colours.

    Args:
        picture: (H, W, 3), what was drawn from.
        drawing: (H, W, 3).
    """
    spectra = [np.fft.rfft2(_edges(each)) for each in (drawing, picture)]
    cross = spectra[0] * np.conj(spectra[1])
    strength = np.abs(cross)
    if strength.max() <= 0:
        return None
    peaks = np.fft.irfft2(cross / np.maximum(strength, 1e-9 * strength.max()), s=picture.shape[:2])
    row, column = np.unravel_index(int(peaks.argmax()), peaks.shape)
    if peaks.max() < peaks.mean() + _DISTINCT * peaks.std():
        return None
    height, width = peaks.shape
    down, right = int(row), int(column)
    return down - height * (down > height // 2), right - width * (right > width // 2)


def is_shifted(picture: Pixels, drawing: Pixels) -> bool:
    """Whether a drawing is off by more than `MAX_SHIFT_PX`, as far as its edges tell."""
    shift = shift_px(picture, drawing)
    return shift is not None and float(np.hypot(*shift)) > MAX_SHIFT_PX


def _edges(picture: Pixels) -> NDArray[np.float32]:
    """(H, W) how steeply brightness and colour change, less towards the rims, which are no edges."""
    samples = picture.astype(np.float32)
    steep = sum(np.abs(each).sum(axis=-1) for each in np.gradient(samples, axis=(0, 1)))
    window = np.outer(np.hanning(picture.shape[0]), np.hanning(picture.shape[1]))
    edges: NDArray[np.float32] = (np.sqrt(steep) * window).astype(np.float32)
    return edges
