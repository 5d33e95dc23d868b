"""The step behind the models: what follows from several answers about one frame, and from one frame to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plantain.operators.analytics.distance import Distance
from plantain.operators.analytics.track import Track
from plantain.operators.following import Follower
from plantain.operators.streams import Start
from plantain.operators.types import Barrier, Durable, Failure, Result


class Analyse(Follower):
    """Gives instances an identity over time, and every region its distance.

    Args:
        is_tracking: Whether to give identities at all.
    """

    undoes = True

    def __init__(self, *, is_tracking: bool = True) -> None:
        super().__init__()
        self._track = Track(is_on=is_tracking)
        self._distance = Distance()

    def open(self, start: Start) -> None:
        """A stream goes on with what was known where it is durable."""
        self._track.open(start)

    def __call__(self, results: Sequence[Result]) -> Sequence[Result]:
        """The results with more in them."""
        return self._distance(self._track(results))

    def cut(self, barrier: Barrier) -> Barrier | Durable:
        """Notes what is known here."""
        return replace(barrier, promise=replace(barrier.promise, state=self.snapshot(barrier.stream_id)))

    def snapshot(self, stream_id: str) -> str:
        """What is known about a stream."""
        return self._track.snapshot(stream_id)

    def restore(self, stream_id: str, state: str) -> None:
        """Goes back to an earlier `snapshot`."""
        self._track.restore(stream_id, state)

    def fail(self, result: Result, failure: Failure) -> Result:
        """The result that announces that this step failed; objects are looked for again in the next frame."""
        failed = tuple(replace(prediction, value=failure) for prediction in result.predictions)
        return replace(result, predictions=failed)

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        self._track.close(stream_id)
