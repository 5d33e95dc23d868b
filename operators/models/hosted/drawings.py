"""Pictures that come back: packed, perhaps of another size, perhaps no picture at all."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image

from plantain.operators.errors import ModelError
from plantain.operators.models.base import Pixels

MAX_PIXELS = 64_000_000
"""More is not unpacked: 4K is 17 million."""


def unpacked(data: object, where: str) -> Pixels:
    """The picture (H, W, 3) uint8 in base64.

    Args:
        data: What an answer holds in its place.
        where: Who sent it, for the message.

    Raises:
        ModelError: If there is none.
    """
    if not isinstance(data, str) or not data:
        raise ModelError(f"{where} answers without a picture")
    try:
        packed = base64.b64decode(data, validate=True)
        with Image.open(io.BytesIO(packed), formats=["PNG", "JPEG", "WEBP"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ModelError(f"{where} drew {image.width} x {image.height} pixels: too many to unpack")
            return np.asarray(image.convert("RGB"))
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ModelError(f"{where} answers with {len(data)} characters that are no whole picture") from error


def fitted(drawing: Pixels, size_hw: tuple[int, int], *, is_smooth: bool) -> Pixels:
    """A drawing at another size.

    Args:
        drawing: (H, W, 3).
        size_hw: Wanted.
        is_smooth: Whether colours may be mixed: they must not where a colour means something.
    """
    if drawing.shape[:2] == size_hw:
        return drawing
    how = Image.Resampling.LANCZOS if is_smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(drawing).resize((size_hw[1], size_hw[0]), how))
