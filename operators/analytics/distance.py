"""How far away every region is, where the same frame was also asked for depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plantain.operators.analytics.base import Stateless
from plantain.operators.answers import kind_of
from plantain.operators.types import Event, Failure, Prediction, Result


class Distance(Stateless):
    """Measures masks and boxes."""

    def step(self, result: Result) -> tuple[Result, Sequence[Event]]:
        """The result with the median depth of each thing."""
        answered = [
            (kind_of(p.prompt), p.value) for p in result.predictions if not isinstance(p.value, Failure)
        ]
        metres = next((found for kind, value in answered if (found := kind.metres(value)) is not None), None)
        if metres is None:
            return result, ()
        depth_m, valid = metres

        def measured(prediction: Prediction) -> Prediction:
            if isinstance(prediction.value, Failure):
                return prediction
            kind = kind_of(prediction.prompt)
            value = kind.with_distances(prediction.value, depth_m, valid, result.info.fit)
            return replace(prediction, value=value)

        return replace(result, predictions=tuple(map(measured, result.predictions))), ()
