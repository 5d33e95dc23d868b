"""A calibration from training scenes: what the network's own likelihoods are worth (`calibration`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from plantain.operators.answers.masks.value import Masks
from plantain.operators.models import truth
from plantain.operators.models.drawn import Drawn
from plantain.operators.models.plantain import weights
from plantain.operators.models.plantain.calibration import TASKS, terms, uncalibrated
from plantain.operators.models.plantain.evaluation.asking import frame_of
from plantain.operators.models.plantain.evaluation.evaluate import questions, told
from plantain.operators.models.plantain.model import EmbeddedModel
from plantain.operators.scenes import Scene

log = structlog.get_logger(__name__)

NUM_SCENES = 100
"""Training scenes that a calibration is fitted on: some 2,600 regions of classes, 430 things, 240 referred ones."""

FIRST_SEED = 900_000
"""Of scenes that training seldom reaches, so that what is measured was not learnt by heart."""

MIN_REGIONS = 30
"""With fewer a task keeps the likelihoods that it has."""

_RIDGE = 1e-3


def calibrate(path: Path, num_scenes: int = NUM_SCENES) -> None:
    """Fits the calibration of a weights file, and writes it there.

    Args:
        path: The file.
        num_scenes: Scenes of the training split to ask about; one frame of each.
    """
    network, vocabulary = weights.load(path)
    network.calibration.copy_(uncalibrated())  # so that a score is the mean likelihood itself
    waiting = path.with_suffix(".uncalibrated")
    weights.save(waiting, network, vocabulary, {})
    try:
        model = Drawn(EmbeddedModel(waiting))
        found: dict[str, list[tuple[NDArray[np.float64], NDArray[np.bool_]]]] = {task: [] for task in TASKS}
        for seed in range(FIRST_SEED, FIRST_SEED + num_scenes):
            rng = np.random.default_rng((seed, 29))
            index = int(rng.integers(0, 250))
            frame = Scene(seed, split="train", size_hw=(224, 384)).render(index / truth.FRAMES_PER_S)
            asked = questions(frame, seed, index, rng)
            asked = [each for each in asked if each.prompt.task in TASKS]
            answers = model.answer([frame_of(frame.image)], [0] * len(asked), [each.prompt for each in asked])
            for each, answer in zip(asked, answers, strict=True):
                if isinstance(each.true, Masks) and isinstance(answer.value, Masks):
                    scores, right, shares = told(each.prompt, answer.value, each.true)
                    found[str(each.prompt.task)].append((terms(scores, shares), right))
        model.close()
    finally:
        waiting.unlink(missing_ok=True)
    for row, task in enumerate(TASKS):
        x = np.concatenate([np.zeros((0, 3)), *(each for each, _ in found[task])])
        y = np.concatenate([np.zeros(0, np.bool_), *(each for _, each in found[task])])
        if len(y) >= MIN_REGIONS:
            network.calibration[row] = torch.from_numpy(fitted(x, y)).float()
        log.info("calibrated", task=task, regions=len(y), right=round(float(y.mean()), 3) if len(y) else None)
    weights.save(path, network, vocabulary, weights.notes(path))


def fitted(x: NDArray[np.float64], y: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The three numbers of a logistic regression of y (R,) on terms x (R, 3), with a slight ridge.

    The ridge draws towards the likelihoods themselves: what few or one-sided examples do not tell stays as it is.
    """
    start = uncalibrated()[0].numpy().astype(np.float64)
    sign = np.where(y, 1.0, -1.0)

    def loss(numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (x @ numbers)
        away = numbers - start
        slope = -(sign * np.exp(-np.logaddexp(0, margin))) @ x / len(y) + _RIDGE * away
        return float(np.logaddexp(0, -margin).mean() + _RIDGE * away @ away / 2), slope

    numbers: NDArray[np.float64] = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return numbers
