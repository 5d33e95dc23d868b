"""How far away every region is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plantain.operators.types import DepthMap, Masks, Prediction, Result


class Distance:
    """Gives every region its distance, where the same frame was also asked for depth."""

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results with `Masks.distances_m` filled in."""
        return [self._measure(result) for result in results]

    @staticmethod
    def _measure(result: Result) -> Result:
        depth = next((p.value for p in result.predictions if isinstance(p.value, DepthMap)), None)
        if depth is None:
            return result
        predictions = tuple(_with_distances(prediction, depth) for prediction in result.predictions)
        return replace(result, predictions=predictions)


def _with_distances(prediction: Prediction, depth: DepthMap) -> Prediction:
    from plantain.operators.answers.masks.regions import (
        medians_of,
    )  # compiled loops, which a plan of the pipeline must not load

    masks = prediction.value
    if not isinstance(masks, Masks) or not masks.names:
        return prediction
    distances = tuple(medians_of(masks.labels, depth.depth_m, depth.valid, len(masks.names)))
    return replace(prediction, value=replace(masks, distances_m=distances))
