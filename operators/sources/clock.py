"""Time, and the waiting for it, as something that is handed in."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What tells a live source the time, and lets it wait."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never jumps."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        ...

    def sleep(self, seconds: float, stop: threading.Event) -> bool:
        """Waits, at most until `stop` is set; whether it was."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        return time.time_ns()

    def sleep(self, seconds: float, stop: threading.Event) -> bool:
        """Waits, at most until `stop` is set; whether it was."""
        return stop.wait(max(0.0, seconds))
