"""How far away every region is, where the same frame was also asked for depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plantain.operators.analytics.base import Stateless
from plantain.operators.types import DepthMap, Event, Masks, Prediction, Result


class Distance(Stateless):
    """Fills in `Masks.distances_m`."""

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        """The result with the median depth of each region."""
        depth = next((p.value for p in result.predictions if isinstance(p.value, DepthMap)), None)
        if depth is None:
            return result, ()
        predictions = tuple(_with_distances(prediction, depth) for prediction in result.predictions)
        return replace(result, predictions=predictions), ()


def _with_distances(prediction: Prediction, depth: DepthMap) -> Prediction:
    from plantain.operators.answers.masks.regions import (
        medians_of,
    )  # compiled loops, which a plan of the pipeline must not load

    masks = prediction.value
    if not isinstance(masks, Masks) or not masks.names:
        return prediction
    distances = tuple(medians_of(masks.labels, depth.depth_m, depth.valid, len(masks.names)))
    return replace(prediction, value=replace(masks, distances_m=distances))
