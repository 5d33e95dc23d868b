"""A drawing that is its own answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.answers.image.value import Image
from plantain.operators.prompts import Prompt
from plantain.operators.types import Value


class ImageCodec:
    """The identity; every colour is legal, so `off_palette` is 0."""

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> Image:  # noqa: ARG002
        """The drawing (H, W, 3) uint8 itself, not copied.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        pixels.flat(rgb)
        return Image(rgb)

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:  # noqa: ARG002
        """The image (H, W, 3) uint8 itself, not copied.

        Raises:
            CodecError: If `value` is no Image, or not (H, W, 3) uint8.
        """
        image = pixels.expect(value, Image, "image")
        pixels.flat(image.rgb)
        return image.rgb
