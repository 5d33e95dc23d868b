"""What every codec asks of its input, and the flat arrays that compiled loops work on."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from plantain.operators.compiled import compiled
from plantain.operators.errors import CodecError
from plantain.operators.types import Value

V = TypeVar("V", bound=Value)
S = TypeVar("S", bound=np.generic)


def flat(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The channels of a drawing as a contiguous read-only (H * W * 3,) array: red, green, blue, red, ...

    In one dimension, because only then does the compiler know that a pixel is three bytes from the next, and
    vectorises the loops: the nearest edges of two million pixels take 3.7 ms instead of 13.7 ms.

    Args:
        rgb: (H, W, 3) uint8, in any memory layout.

    Raises:
        CodecError: If `rgb` has another shape or dtype.
    """
    shape, dtype = getattr(rgb, "shape", None), getattr(rgb, "dtype", type(rgb).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
        raise CodecError(f"a drawing must be (H, W, 3) uint8 RGB, not {shape} {dtype}")
    return frozen(rgb)


def frozen(array: NDArray[S]) -> NDArray[S]:
    """The items of `array` in one dimension, contiguous and read-only; copied only if scattered in memory.

    Always read-only, so that a loop is compiled once and not again for arrays that may be written to.
    """
    view = np.ascontiguousarray(array).reshape(-1).view()
    view.flags.writeable = False
    return view


def expect(value: Value, kind: type[V], codec: str) -> V:
    """`value`, known to be a `kind`.

    Raises:
        CodecError: If it is of another kind.
    """
    if not isinstance(value, kind):
        raise CodecError(f"the {codec} codec draws {kind.__name__}, not {type(value).__name__}")
    return value


def expect_pair(
    kind: str, values: NDArray[Any], valid: NDArray[Any], components: tuple[int, ...] = ()
) -> None:
    """Checks that `values` is (H, W, *components), and `valid` (H, W) bool.

    Raises:
        CodecError: If they are not.
    """
    if valid.ndim != 2 or valid.dtype != np.bool_ or values.shape != (*valid.shape, *components):
        form = ", ".join(["H", "W", *map(str, components)])
        raise CodecError(
            f"a {kind} needs values ({form}) and valid (H, W) bool of one size, "
            f"not {values.shape} and {valid.shape} {valid.dtype}"
        )


def paint(colours: NDArray[np.uint8], index: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """The drawing (H, W, 3) uint8 that gives each pixel the colour (K, 3) of its index (H, W), below K."""
    drawing = np.empty((*index.shape, 3), np.uint8)
    _paint(frozen(colours), frozen(index), drawing.reshape(-1))
    return drawing


@compiled()
def _paint(colours: NDArray[np.uint8], index: NDArray[np.uint16], drawing: NDArray[np.uint8]) -> None:
    """Fills the channels (3 N,) of the indices (N,)."""
    for i in range(len(index)):
        k = 3 * np.int64(index[i])
        drawing[3 * i] = colours[k]
        drawing[3 * i + 1] = colours[k + 1]
        drawing[3 * i + 2] = colours[k + 2]
