"""How a live stream is doing, told at each change."""

from __future__ import annotations

import threading
from collections import deque

from plantain.operators.health import MOMENTARY, HealthEvent, HealthState
from plantain.operators.sources.clock import Clock


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
        self._state: HealthState = "connecting"
        self._has_begun = False

    @property
    def state(self) -> HealthState:
        """What the stream is now; never one of the momentary states."""
        with self._lock:
            return self._state

    def enter(
        self, state: HealthState, epoch: int, sentence: str, only_from: frozenset[HealthState] | None = None
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
