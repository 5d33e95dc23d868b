"""Whether scores mean what they say: of regions with a score of 0.8, four in five should be right.

A region is right if it and the one that it should be overlap by half (intersection over union). The expected
calibration error (Naeini et al. 2015; Guo et al. 2017, section 2) sorts all regions into ten bins of their scores, and
is the mean distance between a bin's mean score and its share of right regions, each bin weighed by its regions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from plantain.operators.answers.masks.regions import overlaps
from plantain.operators.answers.masks.value import Masks

NUM_BINS = 10

RIGHT_IOU = 0.5
"""Overlap from which a region is right: PASCAL VOC's."""


def verdicts(
    value: Masks, true: Masks, *, are_things: bool, min_area: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """The score, whether it is right, and the share of the picture of each region that can be told (R,).

    Args:
        value: What was answered.
        true: What is true, on the same grid.
        are_things: Regions are things of one kind, matched one to one; else they are found by their names.
        min_area: Smaller true things, as a share of the picture, and what lies on them mostly, cannot be told.
    """
    count = len(value.names)
    pixels, ious = overlaps(true.labels, len(true.names), value.labels, count)
    areas, true_areas = pixels.sum(axis=0)[1:], pixels.sum(axis=1)[1:]
    is_small = true_areas < min_area * value.labels.size
    is_told = (areas > 0) & (pixels[1:, 1:][is_small].sum(axis=0) <= areas / 2)
    right = np.zeros(count, np.bool_)
    if are_things:
        rows, columns = linear_sum_assignment(-ious)
        right[columns] = ious[rows, columns] >= RIGHT_IOU
    else:
        for k, name in enumerate(value.names):
            right[k] = any(ious[j, k] >= RIGHT_IOU for j, other in enumerate(true.names) if other == name)
    return value.scores[is_told], right[is_told], areas[is_told] / value.labels.size


def bins_of(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Regions, their summed scores and how many are right (NUM_BINS, 3), by bin of the score."""
    place = np.clip((scores * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    columns = (np.ones(len(scores)), scores.astype(np.float64), right.astype(np.float64))
    return np.stack([np.bincount(place, each, NUM_BINS) for each in columns], axis=1)


def calibration_error(sums: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The expected calibration error (...) of bins (..., NUM_BINS, 3) under `reliability`; NaN without a region."""
    bins = sums["reliability"]
    count = bins[..., 0].sum(axis=-1)
    gaps = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1)
    error: NDArray[np.float64] = np.divide(gaps, count, out=np.full(count.shape, np.nan), where=count > 0)
    return error
