"""Pictures in their own time, where they are to be had sooner."""

from __future__ import annotations

import threading
from fractions import Fraction

from plantain.operators.sources.clock import Clock

# A picture that would be so early or late begins a new count: its time is not on the same line as those before it.
MAX_OFF_S = 30.0


class Pace:
    """Holds pictures back until their time has come, counted from the first one.

    Args:
        clock: Sets the pace.
        stop: Ends the waiting.
    """

    def __init__(self, clock: Clock, stop: threading.Event) -> None:
        self._clock = clock
        self._stop = stop
        self._origin_s: float | None = None

    def wait(self, time: Fraction) -> bool:
        """Waits for the time of a picture, seconds on its own line; whether it was told to stop."""
        now_s = self._clock.monotonic_s()
        if self._origin_s is None or abs(self._origin_s + float(time) - now_s) > MAX_OFF_S:
            self._origin_s = now_s - float(time)
        return self._clock.sleep(self._origin_s + float(time) - now_s, self._stop)
