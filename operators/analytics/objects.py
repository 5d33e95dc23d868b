"""The objects of an answer, in source pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plantain.operators.geometry import Letterbox
from plantain.operators.types import Masks, Place, Prediction


@dataclass(frozen=True, slots=True)
class Tracked:
    """An object that has an identity, in one frame.

    Attributes:
        track_id: Who it is.
        label: What it is.
        place: Where it stands.
    """

    track_id: int
    label: str
    place: Place


def boxes_in_source(prediction: Prediction, fit: Letterbox) -> NDArray[np.float32]:
    """Boxes (N, 4) `x1, y1, x2, y2` of an answer's regions, in source pixels; none of an answer without regions."""
    from plantain.operators.answers.masks.regions import (
        boxes_of,
    )  # compiled loops, which a plan of the pipeline must not load

    masks = prediction.value
    if not isinstance(masks, Masks) or not masks.names:
        return np.zeros((0, 4), np.float32)
    boxes, _ = boxes_of(masks.labels, len(masks.names))
    return fit.to_source(boxes)


def tracked_in(prediction: Prediction, fit: Letterbox) -> list[Tracked]:
    """The objects of an answer that have an identity."""
    masks = prediction.value
    if not isinstance(masks, Masks) or not masks.track_ids:
        return []
    distances = masks.distances_m or (None,) * len(masks.names)
    return [
        Tracked(track_id, label, Place(float(x1 + x2) / 2, float(y2), distance))
        for track_id, label, (x1, _, x2, y2), distance in zip(
            masks.track_ids, masks.names, boxes_in_source(prediction, fit), distances, strict=True
        )
        if track_id is not None
    ]
