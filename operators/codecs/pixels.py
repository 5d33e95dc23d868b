"""What every codec asks of its input, and drawings as flat lists of pixels."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from operators.errors import CodecError
from operators.types import Value

V = TypeVar("V", bound=Value)


def flat(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pixels of a drawing as a contiguous read-only (H * W, 3) array.

    Always read-only, so that a compiled loop is compiled once and not again for arrays that may be written to.

    Args:
        rgb: (H, W, 3) uint8, in any memory layout.

    Raises:
        CodecError: If `rgb` has another shape or dtype.
    """
    shape, dtype = getattr(rgb, "shape", None), getattr(rgb, "dtype", type(rgb).__name__)
    if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
        raise CodecError(f"a drawing must be (H, W, 3) uint8 RGB, not {shape} {dtype}")
    pixels = np.ascontiguousarray(rgb).reshape(-1, 3)
    pixels = pixels.view()
    pixels.flags.writeable = False
    return pixels


def frozen(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """`array` itself, contiguous and read-only for the same reason, copied only if it is scattered in memory."""
    view = np.ascontiguousarray(array).view()
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


def same_shape(codec: str, **arrays: NDArray[np.generic]) -> tuple[int, int]:
    """Height and width of the maps of one value, which must agree.

    Raises:
        CodecError: If a map has another height or width than the first.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    sizes = {shape[:2] for shape in shapes.values()}
    if len(sizes) != 1 or any(len(shape) < 2 for shape in shapes.values()):
        raise CodecError(f"the {codec} codec needs maps (H, W) of one size, not {shapes}")
    height, width = sizes.pop()
    return height, width
