"""Scores that are likelihoods: of regions that are drawn with a score of 0.8, four in five are right.

A region is right if it and what it should be overlap by half (intersection over union). What the network's own mean
likelihood over a region's pixels is worth depends on the task and on the region's size, by

    likelihood = sigmoid(slope * logit(mean likelihood) + size * log(share of the picture) + bias)

with three numbers for each task, fitted by logistic regression (Platt 1999) on training scenes (`training.fitting`).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

TASKS = ("semantic", "instances", "refer")
"""Tasks whose regions have scores; rows of a calibration."""

_LIMIT = 1e-3
"""Mean likelihoods nearer to 0 or 1 are taken for this near."""


def uncalibrated() -> torch.Tensor:
    """A calibration (3, 3) by which a score is the mean likelihood itself."""
    return torch.tensor([[1.0, 0.0, 0.0]] * len(TASKS))


def terms(sure: NDArray[np.floating], shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """What the three numbers are multiplied with, (R, 3), for regions of a mean likelihood (R,) and a size (R,)."""
    likely = np.clip(sure.astype(np.float64), _LIMIT, 1 - _LIMIT)
    return np.stack(
        [np.log(likely / (1 - likely)), np.log(np.maximum(shares, 1e-6)), np.ones(len(likely))], axis=1
    )


def likelihoods(
    calibration: NDArray[np.floating], task: str, sure: NDArray[np.floating], shares: NDArray[np.floating]
) -> NDArray[np.float32]:
    """How likely each region is right, (R,) float32.

    Args:
        calibration: (3, 3), a row for each of TASKS.
        task: One of them.
        sure: (R,) mean likelihood of the regions' pixels.
        shares: (R,) of the picture.
    """
    logits = terms(sure, shares) @ calibration[TASKS.index(task)]
    found: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return found
