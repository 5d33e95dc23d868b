"""Accuracy, as the paper measures it, from sums that add up over scenes.

Each scene gives a dict of sums; every metric is a function of their total. So a bootstrap over scenes is one
matrix
product: how often each scene was drawn, times the scenes' sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from plantain.operators.answers.masks.regions import overlaps
from plantain.operators.models.plantain.evaluation.reliability import calibration_error

Sums = dict[str, NDArray[np.float64]]
"""Name -> a sum of any shape; the same names and shapes for every scene."""

Metric = Callable[[Mapping[str, NDArray[np.float64]]], NDArray[np.float64]]
"""A figure (...) from sums (..., shape)."""

THRESHOLDS = np.arange(0.5, 0.96, 0.05)
"""IoU from which a mask counts as found: COCO's and SA-Co's ten."""

ANGLE_BINS = 720
"""Quarter degrees from 0 to 180, for the median angle."""

DELTA = 1.25
"""Largest factor between drawn and true depth that counts as right (delta1)."""


def confusion(drawn: NDArray[np.integer], true: NDArray[np.integer], num_classes: int) -> NDArray[np.float64]:
    """Pixels (num_classes + 1, num_classes + 1) by true and drawn label, without true label 0."""
    known = true > 0
    size = num_classes + 1
    flat = true[known].astype(np.int64) * size + drawn[known]
    return np.bincount(flat, minlength=size * size).reshape(size, size).astype(np.float64)


def depth_sums(
    drawn_m: NDArray[np.float32],
    drawn_valid: NDArray[np.bool_],
    true_m: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> Sums:
    """Right pixels and relative errors; a known pixel drawn without a depth is wrong, with an error of 1."""
    true = true_m[known].astype(np.float64)
    drawn = drawn_m[known].astype(np.float64)
    has = drawn_valid[known] & (drawn > 0)
    ratio = np.full(true.shape, np.inf)
    ratio[has] = np.maximum(drawn[has] / true[has], true[has] / drawn[has])
    error = np.where(has, np.abs(drawn - true) / np.maximum(true, 1e-9), 1.0)
    return {
        "depth_right": np.array((ratio < DELTA).sum(), np.float64),
        "depth_error": np.array(error.sum()),
        "depth_count": np.array(float(true.size)),
    }


def angle_histogram(
    drawn: NDArray[np.float32],
    drawn_valid: NDArray[np.bool_],
    true: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Pixels (ANGLE_BINS,) by angle between drawn and true normal; 90 degrees where none was drawn."""
    cosine = (drawn[known].astype(np.float64) * true[known]).sum(axis=-1)
    angle = np.where(drawn_valid[known], np.degrees(np.arccos(np.clip(cosine, -1, 1))), 90.0)
    index = np.minimum((angle * (ANGLE_BINS / 180)).astype(np.int64), ANGLE_BINS - 1)
    return np.bincount(index, minlength=ANGLE_BINS).astype(np.float64)


def pair_f1(drawn: NDArray[np.integer], true: NDArray[np.integer]) -> float:
    """F1 of one image-phrase pair averaged over THRESHOLDS, objects matched one to one for the largest IoU.

    Args:
        drawn: (H, W) labels, 0 background, 1..n objects.
        true: The same, with at least one object.
    """
    num_drawn, num_true = int(drawn.max()), int(true.max())
    if num_drawn == 0:
        return 0.0
    _, iou = overlaps(true, num_true, drawn, num_drawn)
    rows, columns = linear_sum_assignment(-iou)
    found = (iou[rows, columns][:, None] >= THRESHOLDS - 1e-9).sum(axis=0)
    return float((2 * found / (num_drawn + num_true)).mean())


def summary(
    scenes: Sequence[Sums],
    num_resamples: int = 1000,
    seed: int = 0,
    measured: Mapping[str, Metric] | None = None,
) -> dict[str, float | list[float]]:
    """Every metric, and under `<name>_ci` its 95 % bootstrap interval over scenes.

    Args:
        scenes: Sums of each scene.
        num_resamples: Bootstrap samples.
        seed: Of the bootstrap.
        measured: Other metrics than METRICS.
    """
    stacked = {name: np.stack([each[name] for each in scenes]) for name in scenes[0]}
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(scenes), np.full(len(scenes), 1 / len(scenes)), num_resamples).astype(
        np.float64
    )
    total = {name: each.sum(axis=0)[None] for name, each in stacked.items()}
    resampled = {name: np.tensordot(draws, each, axes=1) for name, each in stacked.items()}
    result: dict[str, float | list[float]] = {}
    for name, metric in (METRICS if measured is None else measured).items():
        spread = metric(resampled)
        spread = spread[np.isfinite(spread)]
        low, high = np.percentile(spread, [2.5, 97.5]) if len(spread) else (np.nan, np.nan)
        result[name] = float(metric(total)[0])
        result[f"{name}_ci"] = [float(low), float(high)]
    return result


def class_ious(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU (..., num_classes) of confusion tables (..., n + 1, n + 1); NaN for a class that is nowhere."""
    hit = np.diagonal(table, axis1=-2, axis2=-1)[..., 1:]
    true, drawn = table.sum(axis=-1)[..., 1:], table.sum(axis=-2)[..., 1:]
    return _ratio(hit, np.where(true > 0, true + drawn - hit, 0.0))


def _miou(key: str) -> Metric:
    def metric(sums: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        ious = class_ious(sums[key])
        there = np.isfinite(ious)
        return _ratio(np.where(there, ious, 0).sum(axis=-1), there.sum(axis=-1))

    return metric


def share(above: str, below: str) -> Metric:
    """One sum as a share of another."""
    return lambda sums: _ratio(sums[above], sums[below])


def _angle_mean(sums: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    middle = (np.arange(ANGLE_BINS) + 0.5) * (180 / ANGLE_BINS)
    return _ratio(sums["angles"] @ middle, sums["angles"].sum(axis=-1))


def _angle_median(sums: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    below = np.cumsum(sums["angles"], axis=-1)
    index: NDArray[np.int64] = (below < below[..., -1:] / 2).sum(axis=-1)
    return np.where(below[..., -1] > 0, (index + 0.5) * (180 / ANGLE_BINS), np.nan)


def _mcc(sums: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Matthews correlation of "the class is there" and "something was drawn" over image-phrase pairs."""
    right, missed, invented, silent = np.moveaxis(sums["presence"], -1, 0)
    product = (right + missed) * (right + invented) * (silent + missed) * (silent + invented)
    return _ratio(right * silent - missed * invented, np.sqrt(product))


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient, NaN where there is nothing to divide by."""
    empty = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    quotient: NDArray[np.float64] = np.divide(above, below, out=empty, where=below > 0)
    return quotient


METRICS: dict[str, Metric] = {
    "miou": _miou("confusion"),
    "miou_random_palette": _miou("confusion_random"),
    "delta1": share("depth_right", "depth_count"),
    "absrel": share("depth_error", "depth_count"),
    "normals_mean_deg": _angle_mean,
    "normals_median_deg": _angle_median,
    "pmf1": share("pair_f1", "pair_count"),
    "il_mcc": _mcc,
    "ciou": share("refer_overlap", "refer_union"),
    "refer_empty": share("empty_right", "empty_count"),
    "calibration_error": calibration_error,
    "off_palette": share("off_palette", "drawings"),
}
"""Each metric as a function of summed sums (..., shape)."""
