"""How many copies of the model there should be, by how long frames wait for it. Pure: the clock is passed in."""

from __future__ import annotations

from dataclasses import dataclass

# Frames wait longer than this, for this long: another copy. It is less than cameras' frames wait where copies are too
# few (`dispatch.MAX_LIVE_WAIT_S`).
UP_AGE_S = 0.2
UP_AFTER_S = 3.0
# At least one copy had nothing to do, and no frame waited so long, for this long: one copy less.
DOWN_AFTER_S = 60.0
# After a change nothing is decided for this long: what a copy changes must first be seen.
SETTLE_S = 10.0
# A copy that could not be made is not tried again before this.
RETRY_S = 60.0


@dataclass(slots=True)
class Scaler:
    """Decides, one copy at a time.

    Attributes:
        least, most: Bounds of the number of copies.
        calm_s: Since when frames have not waited too long; None before the first look.
        needed_s: When all copies were needed last.
        settled_s: Nothing is decided before this.
    """

    least: int
    most: int
    calm_s: float | None = None
    needed_s: float | None = None
    settled_s: float = 0.0

    def step(self, now: float, copies: int, idle: int, age_s: float) -> int:
        """How many copies there should be: as many as there are, one more or one less, and always within the bounds.

        Args:
            now: Seconds, monotonic.
            copies: That there are.
            idle: Those of them that have nothing to do.
            age_s: How long the oldest frame has waited for the model.
        """
        if self.calm_s is None or age_s <= UP_AGE_S:
            self.calm_s = now
        if self.needed_s is None or not idle or age_s > UP_AGE_S:
            self.needed_s = now
        if now < self.settled_s:
            return copies
        if copies < self.most and now - self.calm_s >= UP_AFTER_S:
            return self._change(now, copies + 1)
        if copies > self.least and now - self.needed_s >= DOWN_AFTER_S:
            return self._change(now, copies - 1)
        return copies

    def made(self, now: float) -> None:
        """A copy is there, which may have taken long."""
        self._settle(now, SETTLE_S)

    def failed(self, now: float) -> None:
        """A copy could not be made."""
        self._settle(now, RETRY_S)

    def _change(self, now: float, copies: int) -> int:
        self._settle(now, SETTLE_S)
        return copies

    def _settle(self, now: float, pause_s: float) -> None:
        self.settled_s = now + pause_s
        self.calm_s = self.needed_s = now
