"""A mark of black and white cells in a picture's corner that says which scene and frame it shows."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 12, 6
_QUIET = 1
_SEED_BITS, _INDEX_BITS, _CHECK_BITS = 32, 20, 20


def stamp(image: NDArray[np.uint8], seed: int, frame_index: int) -> NDArray[np.uint8]:
    """A copy of a picture with the mark in its top left corner.

    Args:
        image: (H, W, 3) uint8 RGB.
        seed: 0..2**32 - 1.
        frame_index: 0..2**20 - 1.

    Returns:
        (H, W, 3) uint8 RGB; the mark is 14 x 8 cells of W / 48 pixels with its frame.
    """
    cell = _cell(image)
    bits = _bits(seed, frame_index).reshape(ROWS, COLUMNS)
    marked = image.copy()
    # a frame of one dark cell keeps the pattern apart from the picture
    marked[: (ROWS + 2 * _QUIET) * cell, : (COLUMNS + 2 * _QUIET) * cell] = 16
    block = np.kron(bits, np.ones((cell, cell), np.uint8)) * np.uint8(219) + np.uint8(16)
    marked[_QUIET * cell : (ROWS + _QUIET) * cell, _QUIET * cell : (COLUMNS + _QUIET) * cell] = block[
        ..., None
    ]
    return marked


def read_stamp(image: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Seed and frame index that a picture's mark says, None where there is no valid mark.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    cell = _cell(image)
    area = image[_QUIET * cell : (ROWS + _QUIET) * cell, _QUIET * cell : (COLUMNS + _QUIET) * cell]
    if area.shape[:2] != (ROWS * cell, COLUMNS * cell):
        return None
    grey = area.astype(np.float32).mean(-1).reshape(ROWS, cell, COLUMNS, cell)
    edge = cell // 4
    core = grey[:, edge : cell - edge, :, edge : cell - edge].mean((1, 3))
    bits = (core > 125.0).astype(np.uint8).reshape(-1)
    seed, index = _number(bits[:_SEED_BITS]), _number(bits[_SEED_BITS : _SEED_BITS + _INDEX_BITS])
    return (seed, index) if np.array_equal(bits, _bits(seed, index)) else None


def _cell(image: NDArray[np.uint8]) -> int:
    """Side of a cell in pixels."""
    return max(2, round(int(image.shape[1]) / 48))


def _bits(seed: int, frame_index: int) -> NDArray[np.uint8]:
    """(72,) zeros and ones: seed, frame index, checksum."""
    seed, frame_index = seed % (1 << _SEED_BITS), frame_index % (1 << _INDEX_BITS)
    check = zlib.crc32(seed.to_bytes(4, "big") + frame_index.to_bytes(3, "big")) % (1 << _CHECK_BITS)
    text = f"{seed:0{_SEED_BITS}b}{frame_index:0{_INDEX_BITS}b}{check:0{_CHECK_BITS}b}"
    return np.array([int(bit) for bit in text], np.uint8)


def _number(bits: NDArray[np.uint8]) -> int:
    """The number that bits write, the highest first."""
    return int("".join(map(str, bits.tolist())), 2)
