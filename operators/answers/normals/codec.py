"""Surface normals drawn as colours (Vision Banana, section 3.2).

    R = (1 - x) / 2, G = (1 + y) / 2, B = (1 + z) / 2, each times 255

Camera frame: +x right, +y up, +z to the viewer. Note that x is flipped against the usual `(n + 1) / 2`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.answers.normals.value import NormalMap
from plantain.operators.compiled import compiled
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value

# Drawn vectors are longer or shorter than 1: in published drawings the 5-95% range is 0.80-1.14. One below
# 0.5 is a blend of two directions across an edge, or the gray that we draw for "no direction". One above 1.5
# is close to a corner of the cube (1.73): black, which generators paint where nothing was asked, or white.
MIN_LENGTH = 0.5
MAX_LENGTH = 1.5

NO_DIRECTION = (127, 127, 127)
"""Drawn where there is no surface, such as the sky: decodes to a vector of length 0.007."""

# Up to here the drawing says "no surface", an answer and no fault; a dozen levels are left for noise.
BLANK_LENGTH = 0.1

# The same lengths, squared, of vectors whose components are odd integers in -255..255.
_SHORTEST_SQ = round((255 * MIN_LENGTH) ** 2)
_LONGEST_SQ = round((255 * MAX_LENGTH) ** 2)
_BLANK_SQ = round((255 * BLANK_LENGTH) ** 2)


class NormalsCodec:
    """Unit vectors to colours and back, each component within 1/255 before renormalising (0.4 degrees)."""

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> NormalMap:  # noqa: ARG002
        """Unit normals of a drawing (H, W, 3) uint8.

        Returns:
            Normals (H, W, 3) float32, 0 where the drawn vector is shorter than `MIN_LENGTH` or longer than
            `MAX_LENGTH`; `off_palette` is the share of those pixels, not counting those that
            say "no surface".

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        channels = pixels.flat(rgb)
        normals = np.empty(rgb.shape, np.float32)
        valid = np.empty(rgb.shape[:2], np.bool_)
        off = _decode(channels, normals.reshape(-1), valid.reshape(-1))
        return NormalMap(normals, valid, off / max(1, valid.size))

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:  # noqa: ARG002
        """The drawing (H, W, 3) uint8 of a normal map; invalid pixels become `NO_DIRECTION`.

        Raises:
            CodecError: If `value` is no NormalMap, or its maps differ in size.
        """
        return samples_of(pixels.expect(value, NormalMap, "normals"), -1.0, NO_DIRECTION[0])


def samples_of(value: NormalMap, sign_x: float, invalid: int) -> NDArray[np.uint8]:
    """Samples (H, W, 3) of `(n + 1) / 2`, x taken times `sign_x`; `invalid` where there is no direction.

    Raises:
        CodecError: If the maps differ in size, or the vectors are not of three components.
    """
    pixels.expect_pair("normal map", value.normals, value.valid, (3,))
    samples = np.empty(value.normals.shape, np.uint8)
    vectors = pixels.frozen(value.normals.astype(np.float32, copy=False))
    _encode(vectors, pixels.frozen(value.valid), np.float32(sign_x), np.uint8(invalid), samples.reshape(-1))
    return samples


@compiled()
def _decode(rgb: NDArray[np.uint8], normals: NDArray[np.float32], valid: NDArray[np.bool_]) -> int:
    """Fills `normals` (3 N,) and `valid` (N,) of the channels (3 N,); returns how many mean nothing."""
    off = 0
    for i in range(len(valid)):
        x = np.int32(255 - 2 * np.int32(rgb[3 * i]))
        y = np.int32(2 * np.int32(rgb[3 * i + 1]) - 255)
        z = np.int32(2 * np.int32(rgb[3 * i + 2]) - 255)
        length_sq = np.int32(np.int32(x * x) + np.int32(y * y) + np.int32(z * z))
        is_direction = (length_sq >= _SHORTEST_SQ) & (length_sq <= _LONGEST_SQ)
        valid[i] = is_direction
        off += int((length_sq > _BLANK_SQ) & (not is_direction))
        # Never a division by zero: the components are odd, so the smallest squared length is 3.
        inverse = np.float32(1.0) / np.sqrt(np.float32(length_sq))
        scale = inverse if is_direction else np.float32(0.0)
        normals[3 * i] = np.float32(x) * scale
        normals[3 * i + 1] = np.float32(y) * scale
        normals[3 * i + 2] = np.float32(z) * scale
    return off


@compiled()
def _encode(
    normals: NDArray[np.float32],
    valid: NDArray[np.bool_],
    sign_x: np.float32,
    invalid: np.uint8,
    samples: NDArray[np.uint8],
) -> None:
    """Fills `samples` (3 N,) of the components (3 N,)."""
    for i in range(len(valid)):
        x, y, z = normals[3 * i], normals[3 * i + 1], normals[3 * i + 2]
        if not (valid[i] and np.isfinite(x + y + z)):
            samples[3 * i : 3 * i + 3] = invalid
            continue
        samples[3 * i] = _sample(sign_x * x)
        samples[3 * i + 1] = _sample(y)
        samples[3 * i + 2] = _sample(z)


@compiled()
def _sample(component: np.float32) -> np.uint8:
    """A component in -1..1 as 0..255; beyond that the nearer end."""
    # 127.5 + 0.5: cutting the fraction off then rounds half up.
    sample = component * np.float32(127.5) + np.float32(128.0)
    return np.uint8(min(max(sample, np.float32(0.0)), np.float32(255.0)))
