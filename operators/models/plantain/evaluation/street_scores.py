"""How well a model tells the classes of real streets: mean IoU by source, on the pixels whose class is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plantain.operators.answers.grids import enlarge
from plantain.operators.answers.masks.value import Masks
from plantain.operators.errors import ModelError
from plantain.operators.geometry import Fit, Letterbox
from plantain.operators.models.base import Answering
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.asking import Asking, frame_of
from plantain.operators.models.plantain.evaluation.metrics import Sums
from plantain.operators.models.plantain.training import streets
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.prompts import Prompt
from plantain.operators.vocabulary import CLASSES

STREET_CLASSES = ("road", "sky", "vegetation", "building", "car", "person")
"""What small public networks are compared by."""

_PROMPT = Prompt.parse(f"semantic:{','.join(CLASSES[1:])}")


def street_scores(
    model: Answering, folder: Path, size_hw: tuple[int, int], fit: Fit = "letterbox"
) -> dict[str, Any]:
    """Mean IoU of STREET_CLASSES, over all pictures of a folder and by source.

    Pixels count whose class is known, and nothing else does: what is drawn where nobody knows is neither right nor
    wrong. Any class may be drawn; a class counts in a source's mean if some pixel of the source is of it. Pictures
    without an answer are left out, and counted; a model whose budget is spent is asked no more.

    Args:
        model: Anything behind the model contract.
        folder: Of `streets.entries`.
        size_hw: Canvas.
        fit: How a picture lies on it.

    Returns:
        A dict that JSON can hold: `miou6`, `miou6_ci` (95 %, bootstrap over pictures), `class_iou`, `num_pictures`,
        `sources`, the same for each, `model_fingerprint`, and `cost_usd`, `num_asked`, `failed`, `stopped` as of
        `evaluate`.

    Raises:
        UsageError: If the folder cannot be read.
        ModelError: If no picture was answered.
    """
    asking = Asking(model)
    by_source: dict[str, list[Sums]] = {}
    for entry in streets.entries(folder):
        street = streets.load(folder, entry)
        drawn = _drawn(asking, street.image, size_hw, fit)
        if asking.stopped:
            break
        if drawn is None:
            continue
        table = metrics.confusion(drawn, _true(street), len(CLASSES) - 1)
        by_source.setdefault(entry.source, []).append({"confusion": table})
    every = [sums for each in by_source.values() for sums in each]
    if not every:
        raise ModelError(f"model {model.name} answered nothing: {next(iter(asking.failed))}")
    return _summary(every) | {
        "sources": {name: _summary(by_source[name]) for name in sorted(by_source)},
        "model_fingerprint": model.fingerprint,
        **asking.account,
    }


def _true(street: streets.Street) -> NDArray[np.uint8]:
    """Class ids, 0 where unknown."""
    return np.where(street.class_map == IGNORE, 0, street.class_map).astype(np.uint8)


def _drawn(
    asking: Asking, image: NDArray[np.uint8], size_hw: tuple[int, int], how: Fit
) -> NDArray[np.uint16] | None:
    """Class ids at the picture's size, 0 where nothing was drawn; None without an answer."""
    fit = Letterbox.fit(image.shape[:2], size_hw, how)
    small = np.asarray(Image.fromarray(image).resize((fit.width, fit.height), Image.Resampling.BOX))
    (value,) = asking.values(frame_of(fit.place(small), fit), [_PROMPT])
    if not isinstance(value, Masks):
        return None
    return enlarge(value.numbered_as(CLASSES[1:]), image.shape[:2])


def _miou6(sums: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    ious = metrics.class_ious(sums["confusion"])[..., [CLASSES.index(name) - 1 for name in STREET_CLASSES]]
    there = np.isfinite(ious)
    count = there.sum(axis=-1)
    mean = np.where(there, ious, 0).sum(axis=-1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


def _summary(pictures: list[Sums]) -> dict[str, Any]:
    result: dict[str, Any] = dict(metrics.summary(pictures, measured={"miou6": _miou6}))
    ious = metrics.class_ious(np.sum([each["confusion"] for each in pictures], axis=0))
    named = dict(zip(CLASSES[1:], ious.tolist(), strict=True))
    result["class_iou"] = {name: named[name] for name in STREET_CLASSES if np.isfinite(named[name])}
    return result | {"num_pictures": len(pictures)}
