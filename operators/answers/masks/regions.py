"""The regions of a label map, each measured in one pass over all pixels."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantain.operators.answers import pixels
from plantain.operators.compiled import compiled


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """The regions of a label map.

    Attributes:
        boxes, areas: See `boxes_of`.
        extent: Top, bottom, left, right of the smallest rectangle that holds them all, the ends exclusive.
        highest: The highest label.
    """

    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    extent: tuple[int, int, int, int]
    highest: int


_known: dict[tuple[int, int], tuple[weakref.ref[NDArray[np.uint16]], Measured]] = {}


def measured(labels: NDArray[np.uint16], count: int) -> Measured:
    """The regions 1..count of a label map, which analytics, rows and pictures all ask for: measured once.

    What was found out goes with the map, which nobody may change, like every answer.
    """
    key = id(labels), count
    known = _known.get(key)
    if known is not None and known[0]() is labels:
        return known[1]
    found = _measured(labels, count)
    _known[key] = weakref.ref(labels, lambda _: _known.pop(key, None)), found
    return found


def boxes_of(labels: NDArray[np.uint16], count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tight boxes and areas of the regions 1..count of a label map.

    Args:
        labels: (H, W) uint16, 0 is background; higher labels than `count` are passed over.
        count: How many regions there are; a region without a pixel gets an empty box and area 0.

    Returns:
        Boxes (count, 4) float32 `x1, y1, x2, y2` in pixel edges (x2, y2 exclusive), and areas (count,) in pixels.
    """
    found = measured(labels, count)
    return found.boxes, found.areas


def without_gaps(labels: NDArray[np.integer]) -> tuple[NDArray[np.uint16], list[int]]:
    """The same regions as 1..n in the order of their labels, and which label each had.

    Args:
        labels: (H, W), 0 is background.
    """
    present = [label for label in np.unique(labels).tolist() if label]
    table = np.zeros(int(labels.max(initial=0)) + 1, np.uint16)
    table[present] = np.arange(1, len(present) + 1)
    return table[labels], present


def overlaps(
    rows: NDArray[np.integer], num_rows: int, columns: NDArray[np.integer], num_columns: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How far the regions of two label maps (H, W) lie on one another.

    Returns:
        Pixels (num_rows + 1, num_columns + 1) of each pair, background first; IoU (num_rows, num_columns) of regions.
    """
    flat = rows.ravel().astype(np.int64) * (num_columns + 1) + columns.ravel()
    pixels = np.bincount(flat, minlength=(num_rows + 1) * (num_columns + 1)).reshape(num_rows + 1, -1)
    inner = pixels[1:, 1:]
    union = pixels.sum(axis=1)[1:, None] + pixels.sum(axis=0)[None, 1:] - inner
    return pixels, inner / np.maximum(1, union)


def _measured(labels: NDArray[np.uint16], count: int) -> Measured:
    boxes = np.zeros((count, 4), np.float32)
    areas = np.zeros(count, np.int64)
    extent = _extent_of(labels)
    highest = _measure(pixels.frozen(labels), labels.shape[1], extent, boxes, areas)
    boxes.flags.writeable = areas.flags.writeable = False
    return Measured(boxes, areas, extent, int(highest))


def _extent_of(labels: NDArray[np.uint16]) -> tuple[int, int, int, int]:
    """See `Measured`; of a map without regions, its first pixel."""
    height, width = labels.shape
    words = pixels.frozen(labels)
    if width % 4 == 0:  # four pixels at a time
        words = words.view(np.uint64)
    rows = np.zeros(height, words.dtype)
    columns = np.zeros(len(words) // max(1, height), words.dtype)
    _gather(words, rows, columns)
    return *_ends(rows), *_ends(columns.view(np.uint16))


@compiled(is_short=True)
def _gather(words: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]) -> None:
    """Adds the bits of each row and of each column of a flat map, so that what holds nothing stays 0."""
    width = len(columns)
    for y in range(len(rows)):
        held = rows[y]
        for x in range(width):
            held |= words[y * width + x]
            columns[x] |= words[y * width + x]
        rows[y] = held


@compiled(is_short=True)
def _ends(line: NDArray[Any]) -> tuple[int, int]:
    """Where what is not 0 begins and ends; of nothing, the first item."""
    first, last = 0, len(line)
    while first < last and line[first] == 0:
        first += 1
    if first == last:
        return 0, min(1, last)
    while line[last - 1] == 0:
        last -= 1
    return first, last


def means_of(
    labels: NDArray[np.uint16], values: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean value of each region 1..count of a label map, and its share of the map; both (count,).

    Args:
        labels: (H, W) uint16, 0 is background.
        values: (H, W) uint8, 255 for a mean of 1.
        count: How many regions there are.
    """
    sums, areas = _sums(pixels.frozen(labels), pixels.frozen(values), count)
    means: NDArray[np.float32] = (sums / np.maximum(areas, 1) / np.iinfo(values.dtype).max).astype(np.float32)
    shares: NDArray[np.float32] = (areas / max(1, labels.size)).astype(np.float32)
    return means, shares


def medians_of(
    labels: NDArray[np.uint16], values: NDArray[np.float32], valid: NDArray[np.bool_], count: int
) -> list[float | None]:
    """The median value of each region 1..count of a label map; None for a region without a valid pixel.

    Args:
        labels: (H, W) uint16, 0 is background.
        values: (H, W) float32.
        valid: (H, W) bool, which of them count.
        count: How many regions there are.
    """
    grouped, ends = _grouped(pixels.frozen(labels), pixels.frozen(values), pixels.frozen(valid), count)
    return [_median(grouped[start:end]) for start, end in pairwise(ends.tolist())]


def _median(values: NDArray[np.float32]) -> float | None:
    """The middle of values (N,), or the mean of the two in the middle: a tenth of `np.median`'s time for few."""
    count = len(values)
    if not count:
        return None
    low, high = (count - 1) // 2, count // 2
    ordered = np.partition(values, (low, high))
    return float((ordered[low] + ordered[high]) / 2)


@compiled(is_short=True)
def _sums(
    labels: NDArray[np.uint16], values: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums and areas (count,) of flat maps."""
    sums = np.zeros(count + 1, np.int64)
    areas = np.zeros(count + 1, np.int64)
    for i in range(len(labels)):
        label = labels[i]
        if label <= count:
            sums[label] += values[i]
            areas[label] += 1
    return sums[1:], areas[1:]


@compiled(is_short=True)
def _measure(
    labels: NDArray[np.uint16],
    width: int,
    extent: tuple[int, int, int, int],
    boxes: NDArray[np.float32],
    areas: NDArray[np.int64],
) -> np.int64:
    """Fills boxes (count, 4) and areas (count,), run by run along the rows; returns the highest label."""
    top, bottom, left, right = extent
    count = len(areas)
    highest = np.int64(0)
    for y in range(top, bottom):
        row = y * width
        x = left
        while x < right:
            label = np.int64(labels[row + x])
            first = x
            while x < right and labels[row + x] == label:
                x += 1
            highest = max(highest, label)
            if label == 0 or label > count:
                continue
            k = label - 1
            if areas[k] == 0:
                boxes[k, 0], boxes[k, 1] = first, y
            boxes[k, 0] = min(boxes[k, 0], np.float32(first))
            boxes[k, 2] = max(boxes[k, 2], np.float32(x))
            boxes[k, 3] = y + 1
            areas[k] += x - first
    return highest


@compiled()
def _grouped(
    labels: NDArray[np.uint16], values: NDArray[np.float32], valid: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Valid values of flat maps, region by region, and where each region's begin and end (count + 1,)."""
    ends = np.zeros(count + 1, np.int64)
    for i in range(len(labels)):
        if valid[i] and 0 < labels[i] <= count:
            ends[labels[i]] += 1
    for k in range(count):
        ends[k + 1] += ends[k]
    places = ends[:-1].copy()
    grouped = np.empty(ends[count], np.float32)
    for i in range(len(labels)):
        if valid[i] and 0 < labels[i] <= count:
            label = labels[i] - 1
            grouped[places[label]] = values[i]
            places[label] += 1
    return grouped, ends
