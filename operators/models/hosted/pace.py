"""How fast requests go out: a token bucket, and the server's own word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from plantain.operators.errors import ModelBusyError

LONGEST_HOLD_S = 3600.0


class Pace:
    """Lets requests through, so many a minute; all of them wait while the server has asked for it.

    Args:
        per_minute: Requests on average; 0 for any number.
        burst: That may go together where none went before.
        clock: Seconds.
        sleep: How to wait.
    """

    def __init__(
        self,
        per_minute: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval_s = 60.0 / per_minute if per_minute else 0.0
        self._slack_s = self._interval_s * (burst - 1)
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._full_s = clock()  # when the bucket is full again
        self._held_s = clock()  # until when the server wants to be left alone

    def hold(self, seconds: float) -> None:
        """Nothing goes out for so long: the server said so. After an hour at the latest it is asked again."""
        with self._lock:
            self._held_s = max(self._held_s, self._clock() + min(seconds, LONGEST_HOLD_S))

    def wait(self, patience_s: float) -> None:
        """Returns when a request may go.

        Args:
            patience_s: The server's wish is waited for if it is no longer; the rate is, however long.

        Raises:
            ModelBusyError: If it is longer.
        """
        while True:
            with self._lock:
                now = self._clock()
                self._refuse(now, patience_s)
                wait_s = max(self._held_s, self._full_s - self._slack_s) - now
                if wait_s < 1e-6:  # clocks are no finer
                    self._full_s = max(self._full_s, now) + self._interval_s
                    return
            self._sleep(wait_s)

    def _refuse(self, now: float, patience_s: float) -> None:
        if self._held_s - now > patience_s:
            raise ModelBusyError(
                f"the server asked to wait; {span(self._held_s - now)} are left", self._held_s - now
            )


def span(seconds: float) -> str:
    """A time as people say it."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1.0, seconds):.0f} s"
