"""The contract of every sink: rows in, durable on commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from plantain.operators.health import HealthEvent
from plantain.operators.segments import Backlog
from plantain.operators.sinks.rows import Rows


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of frames of one stream that is stored as one unit.

    Of files, boundaries depend on frame indexes only, never on timing, so a repeated run makes the same segments. A
    camera's end by time.

    Attributes:
        stream_id, epoch: The stream.
        index: Number of the segment; of files it holds frames `index * size` to `(index + 1) * size - 1`.
        is_live: It is a camera's: it will never be made again.
    """

    stream_id: str
    epoch: int
    index: int
    is_live: bool = False

    @property
    def name(self) -> str:
        """File stem, sorted as the frames are."""
        return f"part-{self.epoch:04d}-{self.index:06d}"


class Sink(Protocol):
    """Stores rows. Each stream's calls come in order; different streams' calls may interleave.

    A sink may also be `Together`, `Telling`, `Forgetting` or `Spooling`.
    """

    def begin(self, stream_id: str, *, is_resumed: bool) -> None:
        """A stream is about to be written, from its start or (resumed) from its last committed segment on.

        Forgets what was written for it since its last commit; if it is not resumed, also what earlier runs stored.
        """
        ...

    def write(self, segment: Segment, rows: Rows) -> None:
        """Takes results of one segment, in frame order, as rows that all sinks share: none may change them.

        Raises:
            SinkBackpressureError: If it cannot take them now; nothing of them was taken.
            SinkError: If it never will.
        """
        ...

    def commit(self, segment: Segment) -> None:
        """Makes the segment durable and visible as a whole; repeating a segment replaces it."""
        ...

    def finish(self, stream_id: str) -> None:
        """The stream has ended and its last segment is committed."""
        ...

    def close(self) -> None:
        """Gives back files and connections; uncommitted rows are gone."""
        ...


@runtime_checkable
class Together(Protocol):
    """What a sink has, too, that stores segments of several streams at once for less."""

    def commit_together(self, segments: Sequence[Segment]) -> None:
        """Like `commit` of each; called again after an error, with all of them."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A sink that wants to know how streams are doing."""

    def tell(self, event: HealthEvent) -> None:
        """How a stream's health has changed, or what somebody did to it (added, paused, removed).

        In order per stream, between its `begin` and its end as well as before and after. It may come again after a
        worker died, and must not wait: an error that it raises is logged and costs nothing else.
        """
        ...


@runtime_checkable
class Forgetting(Protocol):
    """A sink that keeps something about streams in memory."""

    def forget(self, stream_id: str) -> None:
        """The stream was taken away before its end, or failed.

        Lets go of what was not committed and of everything that is kept about it in memory; what is stored stays.
        """
        ...


@runtime_checkable
class Spooling(Protocol):
    """A sink that keeps on disk what it cannot pass on just now."""

    def backlog(self) -> Backlog | None:
        """What waits; None if it keeps nothing."""
        ...
