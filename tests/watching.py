"""Following live sources until something is so, with all that came meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from plantain.operators.health import HealthEvent
from plantain.operators.sources.live.source import LiveSource
from plantain.operators.sources.live.waking import wait_for_any
from plantain.operators.types import Frame

# For a machine that is busy with other things; nothing waits so long when all is well.
PATIENCE_S = 60.0


@dataclass
class Watch:
    """What one source has given so far.

    Attributes:
        source: The source.
        frames: All frames that were read.
        events: All events that were collected.
    """

    source: LiveSource
    frames: list[Frame] = field(default_factory=list)
    events: list[HealthEvent] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        """The states of the events."""
        return [event.state for event in self.events]

    def num_in(self, epoch: int) -> int:
        """Frames of one epoch."""
        return sum(frame.header.epoch == epoch for frame in self.frames)

    def take(self) -> None:
        """Reads and collects what is there, and checks that every frame is accounted for."""
        self.frames += self.source.read(100)
        self.events += self.source.events()
        counts = self.source.counts
        assert counts.decoded == counts.delivered + counts.waiting + sum(counts.dropped.values())


def follow(watches: Sequence[Watch], is_so: Callable[[], bool], what: str) -> None:
    """Reads from all until `is_so()`.

    Raises:
        AssertionError: If it does not become so in time.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        told = {watch.source.info.stream_id: (watch.states, len(watch.frames)) for watch in watches}
        assert time.monotonic() < deadline_s, f"not {what} after {PATIENCE_S} s: {told}"
        wait_for_any([watch.source for watch in watches], 0.2)
        for watch in watches:
            watch.take()
