"""The objects of an answer, in source pixels."""

from __future__ import annotations

from dataclasses import dataclass

from plantain.operators.answers import kind_of
from plantain.operators.geometry import Letterbox
from plantain.operators.types import Failure, Place, Prediction


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


def tracked_in(prediction: Prediction, fit: Letterbox) -> list[Tracked]:
    """The objects of an answer that have an identity."""
    if isinstance(prediction.value, Failure):
        return []
    kind = kind_of(prediction.prompt)
    boxes = kind.places(prediction.value, fit)
    if boxes is None:
        return []
    return [
        Tracked(track_id, label, Place(float(x1 + x2) / 2, float(y2), distance))
        for (label, track_id, distance), (x1, _, x2, y2) in zip(
            kind.things(prediction.value), boxes, strict=True
        )
        if track_id is not None
    ]
