"""The same picture on grids of different sizes."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

S = TypeVar("S", bound=np.generic)


def enlarge(values: NDArray[S], size_hw: tuple[int, int]) -> NDArray[S]:
    """An array (h, w, ...) at another size, each pixel from the one its centre lies in."""
    enlarged: NDArray[S] = values.take(sources(size_hw[1], values.shape[1]), axis=1)
    return enlarged.take(sources(size_hw[0], values.shape[0]), axis=0)


def sources(num_shown: int, num_given: int) -> NDArray[np.int64]:
    """For each of `num_shown` pixels in a row, which of `num_given` pixels its centre lies in."""
    return ((2 * np.arange(num_shown, dtype=np.int64) + 1) * num_given) // (2 * num_shown)
