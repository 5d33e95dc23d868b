"""How a stream is, in one word, and what is told when that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HealthState = Literal[
    "connecting", "live", "silent", "lost", "refused", "unauthorised", "not_found", "no_video", "frozen",
    "clock_backwards", "changed", "failed", "ended", "added", "paused", "resumed", "reconfigured", "slowed",
    "recovered", "removed",
]  # fmt: skip
"""What a stream can be said to be.

connecting: The first attempt is under way.
live: Frames come.
silent: Nothing has come for a while: it was live, or it takes connections, or drops them, without a word.
lost: The other side ended the connection.
refused: It cannot be reached, or turns connections away.
unauthorised: It asks for other credentials.
not_found: Nothing is at this path, or no such device.
no_video: It answers with something that is no video.
frozen: Frames come, and all show the same picture.
clock_backwards: One frame's time was before that of the frame before it (the stream stays live).
changed: Its resolution or codec is another than before (the stream stays live).
failed: It ended for a reason that time does not heal.
ended: It was told to stop, or had all its frames.
added, paused, resumed, reconfigured, removed: Somebody said so, while the others went on.
slowed, recovered: Overload made it give up something (fewer frames, smaller, fewer tasks), or it got it back.
"""


MOMENTARY: frozenset[HealthState] = frozenset(("clock_backwards", "changed"))
"""States that last for one frame."""


FLOWING: frozenset[HealthState] = frozenset(("live", "frozen"))
"""Frames come. In any other state there is nothing to be late with, and nothing new to be seen."""


REMARKS: frozenset[HealthState] = MOMENTARY | frozenset(
    ("added", "resumed", "reconfigured", "slowed", "recovered")
)
"""What is told of a stream that is in the same state as before."""


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A stream's change from one state to another.

    Attributes:
        stream_id: The stream.
        epoch: Of the connection that it was about.
        state: What it is now.
        sentence: What happened, with the values, and what to do; never holds a secret.
        at_ns: Nanoseconds since 1970 UTC.
    """

    stream_id: str
    epoch: int
    state: HealthState
    sentence: str
    at_ns: int
