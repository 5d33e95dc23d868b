"""Regions as COCO compressed run lengths, all regions of a label map in one pass.

The format counts pixels down the columns, first those outside the region, then those inside, and so on; each
count from the fourth on is written as its difference from the one two before it, in groups of 5 bits, lowest
first, as characters from '0' on. Byte for byte what pycocotools 2.0 writes.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.answers.grids import sources
from plantain.operators.answers.masks import regions
from plantain.operators.compiled import compiled
from plantain.operators.errors import CodecError

# A count fits in 32 bits and a sign, so it takes at most seven groups of 5 bits.
_MAX_CHARACTERS = 7


def encode_regions(
    labels: NDArray[np.uint16], count: int, size_hw: tuple[int, int] | None = None
) -> list[str]:
    """Compressed counts of the regions 1..count of a label map, as they are on a grid of any size.

    Each pixel of the grid takes the label in which its centre lies (`grids.enlarge`), but the larger map is never made:
    runs are found once in each column of `labels`, and laid out along the columns of the grid.

    Args:
        labels: (H, W) uint16, 0 is background.
        count: How many regions there are; one without a pixel gets the counts of an empty mask.
        size_hw: Height and width of the grid, pixels; that of `labels` if left out.

    Returns:
        The `counts` of a COCO RLE `{"size": size_hw, "counts": ...}` for each region.

    Raises:
        CodecError: If the map has another shape or dtype, or holds a label above `count`.
    """
    if labels.ndim != 2 or labels.dtype != np.uint16:
        raise CodecError(f"a label map must be (H, W) uint16, not {labels.shape} {labels.dtype}")
    known = regions.measured(labels, count)
    if known.highest > count:
        raise CodecError(f"the label map holds label {known.highest}, but only {count} regions are asked for")
    starts, columns = _laid(labels.shape, labels.shape if size_hw is None else size_hw)
    text, ends = _encode(pixels.frozen(labels), labels.shape[1], known.extent, starts, columns, count)
    whole = text.tobytes().decode("ascii")
    return [whole[start:end] for start, end in pairwise(ends.tolist())]


@lru_cache(64)  # of each size of cameras
def _laid(map_hw: tuple[int, int], grid_hw: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where on a grid each row of a map begins (H + 1,), and which column of the map each of the grid's shows (W,)."""
    (height, width), (grid_h, grid_w) = map_hw, grid_hw
    # A row begins at the first pixel whose centre lies in it or below.
    starts = np.searchsorted(sources(grid_h, height), np.arange(height + 1)).astype(np.int64)
    columns = sources(grid_w, width) if height * width else np.empty(0, np.int64)
    return starts, columns


def decode_region(counts: str | bytes, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) bool of compressed counts.

    Raises:
        CodecError: If the counts are damaged, or do not add up to the size.
    """
    height, width = size_hw
    raw = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    mask = np.zeros(height * width, np.bool_)
    if not _decode(np.frombuffer(raw, np.uint8), mask):
        raise CodecError(
            f"run lengths of {len(raw)} characters do not describe a mask of {height} x {width} pixels"
        )
    return mask.reshape(width, height).T


@compiled(is_short=True)
def _encode(
    labels: NDArray[np.uint16],
    stride: int,
    extent: tuple[int, int, int, int],
    starts: NDArray[np.int64],
    columns: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The counts of all regions one after another, and where each begins and ends (count + 1,).

    Args:
        labels: (H * W,), row by row.
        stride: W.
        extent: What holds regions (`regions.Measured`); only that is walked over.
        starts: (H + 1,) row of the grid at which each row of the map begins; the last is the grid's height.
        columns: (grid W,) column of the map that each column of the grid shows.
        count: How many regions there are.
    """
    height = len(starts) - 1
    grid_h = starts[height]
    size = grid_h * len(columns)
    # An edge of background stands for all that lies outside.
    top, bottom, left, right = extent
    top, bottom = max(0, top - 1), min(height, bottom + 1)
    left, right = max(0, left - 1), min(stride, right + 1)
    # The runs of the map's columns: label, first row on the grid; and where each column's begin.
    width = right - left
    num = width
    for y in range(top + 1, bottom):
        for i in range(y * stride + left, y * stride + right):
            if labels[i] != labels[i - stride]:
                num += 1
    run_label = np.empty(num, np.int64)
    run_row = np.empty(num, np.int64)
    first_run = np.zeros(width + 1, np.int64)
    num = 0
    for x in range(width):
        first_run[x] = num
        if top < bottom:
            run_label[num], run_row[num] = labels[top * stride + left + x], 0
            num += 1
        for y in range(top + 1, bottom):
            i = y * stride + left + x
            if labels[i] != labels[i - stride]:
                run_label[num], run_row[num] = labels[i], starts[y]
                num += 1
    first_run[width] = num
    # Laid out twice on the grid, first counted, then filled in, region by region, as positions where a region's
    # pixels begin and end.
    num_runs = np.zeros(count + 2, np.int64)
    _lay_out(run_label, run_row, first_run, columns, left, grid_h, num_runs, np.empty((0, 2), np.int64))
    num_runs[1] = 0  # the background's
    first = np.empty(count + 2, np.int64)
    place = np.empty(count + 2, np.int64)
    total = np.int64(0)
    for k in range(count + 2):
        total += num_runs[k]
        first[k] = place[k] = total
    edges = np.empty((total, 2), np.int64)
    _lay_out(run_label, run_row, first_run, columns, left, grid_h, place, edges)
    text = np.empty((2 * len(edges) + count) * _MAX_CHARACTERS, np.uint8)
    ends = np.zeros(count + 1, np.int64)
    end = 0
    for region in range(1, count + 1):
        position = np.int64(0)
        two_before = one_before = np.int64(0)
        written = 0
        for run in range(first[region], first[region + 1]):
            for edge in range(2):
                length = edges[run, edge] - position
                position = edges[run, edge]
                end = _write(text, end, length - two_before if written > 2 else length)
                two_before, one_before = one_before, length
                written += 1
        if position < size or size == 0:
            length = np.int64(size - position)
            end = _write(text, end, length - two_before if written > 2 else length)
        ends[region] = end
    return text[:end], ends


@compiled()
def _lay_out(
    run_label: NDArray[np.int64],
    run_row: NDArray[np.int64],
    first_run: NDArray[np.int64],
    columns: NDArray[np.int64],
    left: int,
    grid_h: int,
    places: NDArray[np.int64],
    edges: NDArray[np.int64],
) -> None:
    """Walks the runs along the columns of the grid, joining what goes on from the foot of one to the head of the next.

    With no `edges` it counts the runs of label k in `places[k + 1]`; else it writes begin and end of each run of
    label k at `edges[places[k]]`, and moves that on.
    """
    is_counting = len(edges) == 0
    before = np.int64(0)
    for x in range(len(columns)):
        column = max(0, min(columns[x] - left, len(first_run) - 2))
        for run in range(first_run[column], first_run[column + 1]):
            end = run_row[run + 1] if run + 1 < first_run[column + 1] else grid_h
            label = run_label[run]
            if (
                end == run_row[run] or label == before
            ):  # hidden between two rows of a smaller grid, or going on
                continue
            position = x * grid_h + run_row[run]
            if is_counting:
                places[label + 1] += 1
            else:
                if before:
                    edges[places[before], 1] = position
                    places[before] += 1
                if label:
                    edges[places[label], 0] = position
            before = label
    if before and not is_counting:
        edges[places[before], 1] = grid_h * len(columns)


@compiled()
def _write(text: NDArray[np.uint8], end: int, number: np.int64) -> int:
    """Writes a number in groups of 5 bits at `end`; returns the new end."""
    while True:
        group = number & 31
        number >>= 5
        is_last = number == (-1 if group & 16 else 0)
        text[end] = (group if is_last else group | 32) + 48
        end += 1
        if is_last:
            return end


@compiled()
def _decode(text: NDArray[np.uint8], mask: NDArray[np.bool_]) -> bool:
    """Fills `mask` (N,), all False before, column by column; returns whether the counts add up to it."""
    position = np.int64(0)
    two_before = one_before = np.int64(0)
    read = 0
    i = 0
    while i < len(text):
        number = np.int64(0)
        shift = 0
        while True:
            if i == len(text) or text[i] < 48 or text[i] > 111 or shift > 55:
                return False
            group = np.int64(text[i]) - 48
            i += 1
            number |= (group & 31) << np.int64(shift)
            shift += 5
            if not group & 32:
                if group & 16:
                    number |= np.int64(-1) << np.int64(shift)
                break
        length = number + two_before if read > 2 else number
        if length < 0 or position + length > len(mask):
            return False
        if read & 1:
            mask[position : position + length] = True
        position += length
        two_before, one_before = one_before, length
        read += 1
    return bool(position == len(mask))
