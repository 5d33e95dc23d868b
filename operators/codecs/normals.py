"""Surface normals drawn as colours (Vision Banana, section 3.2).

    R = (1 - x) / 2, G = (1 + y) / 2, B = (1 + z) / 2, each times 255

Camera frame: +x right, +y up, +z to the viewer. Note that x is flipped against the usual `(n + 1) / 2`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.codecs import pixels
from operators.prompts import Prompt
from operators.types import NormalMap, Value

# Drawn vectors are longer or shorter than 1: over published drawings the 5-95% range of the length is 0.80-1.14.
# Below 0.5 one is a blend of two directions across an edge, or the gray that we draw for "no direction". Above 1.5
# it is close to a corner of the cube (length 1.73): black, which generators paint where nothing was asked, or white.
MIN_LENGTH = 0.5
MAX_LENGTH = 1.5

NO_DIRECTION = (127, 127, 127)
"""Drawn where there is no normal: decodes to a vector of length 0.007."""


class NormalsCodec:
    """Unit vectors to colours and back, each component within 1/255 before renormalising (0.4 degrees)."""

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> NormalMap:  # noqa: ARG002
        """Unit normals of a drawing (H, W, 3) uint8.

        Returns:
            Normals (H, W, 3) float32, 0 where the drawn vector is shorter than `MIN_LENGTH` or longer than
            `MAX_LENGTH`; `off_palette` is the share of those pixels.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        flat = pixels.flat(rgb)
        normals = np.empty(flat.shape, np.float32)
        valid = np.empty(len(flat), np.bool_)
        invalid = _decode(flat, _SHORTEST_SQ, _LONGEST_SQ, normals, valid)
        height, width = rgb.shape[:2]
        return NormalMap(
            normals.reshape(height, width, 3), valid.reshape(height, width), invalid / max(1, len(flat))
        )

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:  # noqa: ARG002
        """The drawing (H, W, 3) uint8 of a normal map; invalid pixels become `NO_DIRECTION`.

        Raises:
            CodecError: If `value` is no NormalMap, or its maps differ in size.
        """
        normals = pixels.expect(value, NormalMap, "normals")
        pixels.same_shape("normals", normals=normals.normals, valid=normals.valid)
        signed = normals.normals * np.array([-127.5, 127.5, 127.5], np.float32) + np.float32(128.0)
        signed[~normals.valid] = NO_DIRECTION
        # 127.5 + 0.5 above, so that cutting the fraction off rounds half up.
        return np.clip(signed, 0, 255).astype(np.uint8)


# Lengths in the loop are of vectors whose components are odd integers in -255..255.
_SHORTEST_SQ = round((255 * MIN_LENGTH) ** 2)
_LONGEST_SQ = round((255 * MAX_LENGTH) ** 2)


@njit(cache=True, nogil=True)
def _decode(
    rgb: NDArray[np.uint8],
    shortest_sq: int,
    longest_sq: int,
    normals: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> int:
    """Fills `normals` (N, 3) and `valid` (N,) from the pixels (N, 3); returns how many are invalid."""
    invalid = 0
    for i in range(len(rgb)):
        x = np.int32(255) - np.int32(2) * np.int32(rgb[i, 0])
        y = np.int32(2) * np.int32(rgb[i, 1]) - np.int32(255)
        z = np.int32(2) * np.int32(rgb[i, 2]) - np.int32(255)
        length_sq = x * x + y * y + z * z
        is_direction = shortest_sq <= length_sq <= longest_sq
        valid[i] = is_direction
        invalid += not is_direction
        # Never a division by zero: the components are odd, so the smallest squared length is 3.
        scale = np.float32(1.0) / np.sqrt(np.float32(length_sq)) if is_direction else np.float32(0.0)
        normals[i, 0] = np.float32(x) * scale
        normals[i, 1] = np.float32(y) * scale
        normals[i, 2] = np.float32(z) * scale
    return invalid
