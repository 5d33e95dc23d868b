"""The contract of every codec: drawings to values, and values to drawings."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plantain.operators.prompts import Prompt
from plantain.operators.types import Value


class Painted(Value):
    """A value that can be read from a drawing.

    Attributes:
        off_palette: Share of the drawing's pixels that mean nothing.
    """

    __slots__ = ()

    off_palette: float


class Codec(Protocol):
    """Pure functions of one prompt; `decode(encode(value))` is `value` within the stated tolerance."""

    def decode(self, rgb: NDArray[np.uint8], prompt: Prompt) -> Painted:
        """The value that a drawing (H, W, 3) uint8 RGB means.

        Raises:
            CodecError: If `rgb` has another shape or dtype.
        """
        ...

    def encode(self, value: Value, prompt: Prompt) -> NDArray[np.uint8]:
        """The drawing (H, W, 3) uint8 RGB of a value.

        Raises:
            CodecError: If `value` is of another kind.
        """
        ...
