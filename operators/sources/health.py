"""How a live stream is doing, told at each change."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal

from operators.sources.clock import Clock

State = Literal[
    "connecting",
    "live",
    "stalled",
    "silent",
    "lost",
    "refused",
    "unauthorised",
    "not_found",
    "no_video",
    "frozen",
    "clock_backwards",
    "changed",
    "failed",
    "ended",
]
"""What a stream can be said to be.

connecting: The first attempt is under way.
live: Frames come.
stalled: It was live, and nothing has come for a while.
silent: It accepts connections, or drops them without a word, and never answers.
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
"""

MOMENTARY: frozenset[State] = frozenset(("clock_backwards", "changed"))
"""States that last for one frame."""


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
    state: State
    sentence: str
    at_ns: int


class Health:
    """The state of one stream, and the events that nobody has collected yet.

    Args:
        stream_id: The stream.
        clock: Dates the events.
        size: How many events are kept for whoever collects them; the oldest are forgotten first, and counted.
    """

    def __init__(self, stream_id: str, clock: Clock, size: int = 256) -> None:
        self._stream_id = stream_id
        self._clock = clock
        self._lock = threading.Lock()
        self._events: deque[HealthEvent] = deque(maxlen=size)
        self._state: State = "connecting"
        self._has_begun = False
        self._num_forgotten = 0

    @property
    def state(self) -> State:
        """What the stream is now; never one of the momentary states."""
        with self._lock:
            return self._state

    @property
    def num_forgotten(self) -> int:
        """Events that were never collected and had to make room."""
        with self._lock:
            return self._num_forgotten

    def enter(
        self, state: State, epoch: int, sentence: str, only_from: frozenset[State] | None = None
    ) -> bool:
        """Tells of a state, if the stream is not in it already.

        Args:
            state: The new state.
            epoch: Of the connection.
            sentence: For the event.
            only_from: Do nothing unless the stream is in one of these.

        Returns:
            Whether there was something to tell.
        """
        with self._lock:
            if state == self._state and self._has_begun:
                return False
            if only_from is not None and self._state not in only_from:
                return False
            if len(self._events) == self._events.maxlen:
                self._num_forgotten += 1
            self._events.append(HealthEvent(self._stream_id, epoch, state, sentence, self._clock.wall_ns()))
            self._has_begun = True
            if state not in MOMENTARY:
                self._state = state
            return True

    def drain(self) -> list[HealthEvent]:
        """The events since the last call, oldest first."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events
