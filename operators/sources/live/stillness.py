"""Whether a camera still looks: a sensor always has noise, so that no two of its pictures are equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Stillness:
    """For how long a camera's pictures have been the same."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None
        self._since_s = 0.0

    def of(self, image: NDArray[np.uint8], now_s: float) -> float | None:
        """Seconds since the first of the pictures that equal this one; None if the one before did not.

        Args:
            image: (H, W, 3) uint8.
            now_s: On the monotonic clock.
        """
        if self._last is not None and np.array_equal(self._last, image):
            return now_s - self._since_s
        self._last, self._since_s = image, now_s
        return None
