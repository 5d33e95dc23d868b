"""How fast results come, and how late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

WINDOW_S = 5.0
# More than this within the window say no more about its median.
MAX_KEPT = 512


@dataclass(slots=True)
class Recent:
    """The results of the last seconds.

    Attributes:
        results: When each came, in the engine's clock, and seconds since its capture.
    """

    results: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_KEPT))

    def add(self, now: float, latency_s: float) -> None:
        """Notes a result."""
        self.results.append((now, latency_s))

    def fps(self, now: float) -> float:
        """Results per second."""
        self._forget(now)
        if len(self.results) == MAX_KEPT:
            return MAX_KEPT / max(1e-3, now - self.results[0][0])
        return len(self.results) / WINDOW_S

    def latency_s(self, now: float) -> float | None:
        """Median time from capture to result; None without results."""
        self._forget(now)
        return median(latency for _, latency in self.results) if self.results else None

    def _forget(self, now: float) -> None:
        while self.results and self.results[0][0] < now - WINDOW_S:
            self.results.popleft()
