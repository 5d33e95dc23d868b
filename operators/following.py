"""The contract of every step that sees each stream's results in order and keeps something about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plantain.operators.health import HealthEvent
from plantain.operators.render.looks import Look, Picture
from plantain.operators.segments import Backlog, Barrier, Durable
from plantain.operators.streams import Start
from plantain.operators.types import Event, Result


class Follower:
    """A step that follows streams; what a subclass does not care about does nothing here.

    An error ends the stream, and what was given before it stands.

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []

    def open(self, start: Start) -> None:
        """A stream begins, or begins again, where it is durable."""

    def change(self, start: Start) -> None:
        """Something else is asked of a stream from now on."""

    def __call__(
        self, results: Sequence[Result]
    ) -> Sequence[Result] | Iterator[Result | Durable | Event | Picture]:
        """Takes results of one stream in order; gives one for each, and perhaps what has come of them."""
        raise NotImplementedError(f"{type(self).__name__} must say what it makes of results")

    def cut(self, barriers: Sequence[Barrier]) -> Sequence[Barrier | Durable]:
        """Segments end before the next result: gives the barriers for the next step, or what is durable now."""
        return barriers

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Pictures of a stream are wanted, or none any more."""

    def tell(self, event: HealthEvent) -> None:
        """A stream's health has changed, or somebody did something to it."""

    def finish(self, stream_id: str, promise: Durable | None) -> Durable | None:
        """A stream has ended; it was read to its end if there is a promise.

        Returns:
            What is durable now, from the step that stores.
        """
        del promise
        self.close(stream_id)
        return None

    def backlogs(self) -> Sequence[Backlog]:
        """What is promised, and waits on disk for somebody who is away."""
        return ()

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or gives back all that it holds."""
