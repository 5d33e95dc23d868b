"""How well a model tells the classes of real streets: mean IoU by source, on the pixels whose class is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plantain.operators.answers import codec_for
from plantain.operators.answers.masks.value import Masks
from plantain.operators.geometry import Letterbox
from plantain.operators.models.base import ModelBackend
from plantain.operators.models.plantain.evaluation import metrics
from plantain.operators.models.plantain.evaluation.metrics import Sums
from plantain.operators.models.plantain.training import streets
from plantain.operators.models.plantain.training.questions import IGNORE
from plantain.operators.prompts import Prompt
from plantain.operators.scenes import CLASSES

STREET_CLASSES = ("road", "sky", "vegetation", "building", "car", "person")
"""What small public networks are compared by."""

_PROMPT = Prompt.parse(f"semantic:{','.join(CLASSES[1:])}")


def street_scores(backend: ModelBackend, folder: Path, size_hw: tuple[int, int]) -> dict[str, Any]:
    """Mean IoU of STREET_CLASSES, over all pictures of a folder and by source.

    Pixels count whose class is known, and nothing else does: what is drawn where nobody knows is neither right nor
    wrong. Any class may be drawn; a class counts in a source's mean if some pixel of the source is of it.

    Args:
        backend: Anything behind the model contract.
        folder: Of `streets.entries`.
        size_hw: Canvas.

    Returns:
        A dict that JSON can hold: `miou6`, `miou6_ci` (95 %, bootstrap over pictures), `class_iou`, `num_pictures`,
        `sources`, the same for each, and `model_fingerprint`.

    Raises:
        UsageError: If the folder cannot be read.
    """
    by_source: dict[str, list[Sums]] = {}
    for entry in streets.entries(folder):
        street = streets.load(folder, entry)
        table = metrics.confusion(_drawn(backend, street.image, size_hw), _true(street), len(CLASSES) - 1)
        by_source.setdefault(entry.source, []).append({"confusion": table})
    every = [sums for each in by_source.values() for sums in each]
    return _summary(every) | {
        "sources": {name: _summary(by_source[name]) for name in sorted(by_source)},
        "model_fingerprint": backend.fingerprint,
    }


def _true(street: streets.Street) -> NDArray[np.uint8]:
    """Class ids, 0 where unknown."""
    return np.where(street.class_map == IGNORE, 0, street.class_map).astype(np.uint8)


def _drawn(backend: ModelBackend, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Class ids at the picture's size, 0 where nothing was drawn."""
    fit = Letterbox.fit(image.shape[:2], size_hw)
    small = np.asarray(Image.fromarray(image).resize((fit.width, fit.height), Image.Resampling.BOX))
    value = codec_for(_PROMPT).decode(
        fit.crop(backend.render(fit.place(small)[None], [0], [_PROMPT])[0]), _PROMPT
    )
    assert isinstance(value, Masks)
    ids = np.array([0, *(CLASSES.index(name) for name in value.names)], np.uint8)
    rows, columns = (
        ((np.arange(wanted) + 0.5) * there / wanted).astype(int)
        for wanted, there in zip(image.shape[:2], value.labels.shape, strict=True)
    )
    drawn: NDArray[np.uint8] = ids[value.labels[np.ix_(rows, columns)]]
    return drawn


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
