"""The step behind tracking: what follows from several answers about one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plantain.operators.answers import kind_of
from plantain.operators.types import Failure, Result


class Analyse:
    """Gives every region its distance, where the same frame was also asked for depth."""

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """The results with `Masks.distances_m` filled in."""
        return [self._measure(result) for result in results]

    @staticmethod
    def _measure(result: Result) -> Result:
        answered = [
            (kind_of(p.prompt), p.value) for p in result.predictions if not isinstance(p.value, Failure)
        ]
        metres = next((found for kind, value in answered if (found := kind.metres(value)) is not None), None)
        if metres is None:
            return result
        fit = result.info.fit
        predictions = tuple(
            prediction
            if isinstance(prediction.value, Failure)
            else replace(
                prediction, value=kind_of(prediction.prompt).with_distances(prediction.value, *metres, fit)
            )
            for prediction in result.predictions
        )
        return replace(result, predictions=predictions)
