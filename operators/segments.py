"""What is stored of a stream: where it goes on, the end of a segment on its way, and the promise that comes of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a stream to go on.

    Attributes:
        frame_index: Index of the next frame to deliver.
        pts: Its presentation time, None where unknown (then the frames before it are decoded and counted).
        delivered: Frames delivered before it.
        previous_pts: Presentation time of the last of those, None where unknown.
    """

    frame_index: int = 0
    pts: int | None = None
    delivered: int = 0
    previous_pts: int | None = None


@dataclass(frozen=True, slots=True)
class Durable:
    """A promise of the sinks: everything of the stream before `position` is stored and visible.

    Attributes:
        stream_id, epoch: The stream.
        position: Where a restart goes on.
        state: What the analytics knew at `position`.
        failed: Frames before `position` with a failed prompt, by stage.
        is_complete: The stream was read to its end.
        answers: How often each prompt was asked before `position`, as (prompt, stage where it failed or empty, count);
            under the empty prompt, frames of which nothing was asked.
        cost_usd: What the answers before `position` cost, US dollars.
        seen_ns: Until when the rows of a camera say what was there, or that nothing was seen, ns since 1970 UTC; None
            for files, and while nothing can be said.
        unread_bytes: How much of a file that was read to its end is not among its frames.
    """

    stream_id: str
    epoch: int
    position: Position
    state: str | None = None
    failed: tuple[tuple[str, int], ...] = ()
    is_complete: bool = False
    answers: tuple[tuple[str, str, int], ...] = ()
    cost_usd: float = 0.0
    seen_ns: int | None = None
    unread_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Barrier:
    """The end of a segment of a stream, on its way through the stages that keep something about it.

    Attributes:
        following: Number of the segment that begins, within its epoch.
        promise: What is durable once the sinks have committed all that came before; what was known at its position is
            added on the way.
    """

    following: int
    promise: Durable

    @property
    def stream_id(self) -> str:
        """The stream."""
        return self.promise.stream_id


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a sink has promised to pass on, and still keeps on disk.

    Attributes:
        sink: Its name.
        messages: How many wait.
        size: Bytes on disk.
        max_bytes: What it may keep there.
        age_s: How long the oldest has been on disk, seconds; 0 if nothing is.
        lost: Messages for which there was no room, since it was made.
        trouble: Why it does not get rid of them; empty if it does.
    """

    sink: str
    messages: int
    size: int
    max_bytes: int
    age_s: float
    lost: int
    trouble: str
