"""One line of time through a file whose own time may go back, as where recordings were joined end to end."""

from __future__ import annotations

from fractions import Fraction


class Line:
    """Seconds since a file's first picture, never backwards.

    Where its time goes back by a picture or more, a further part begins, after a step as long as the one before.

    Args:
        step: From one picture to the next where no two tell, seconds.

    Attributes:
        start: Where the first part's own time begins, seconds.
    """

    def __init__(self, step: Fraction) -> None:
        self._step = step
        self.start = Fraction(0)
        self._origin: Fraction | None = None
        self._last: Fraction | None = None
        self._part = 0

    def place(self, own: Fraction | None) -> tuple[int, Fraction]:
        """The part that a picture belongs to, and its time, seconds.

        Args:
            own: Its presentation time, seconds; None where the container gives none.
        """
        following = Fraction(0) if self._last is None else self._last + self._step
        if own is None:
            self._last = following
            return self._part, following
        if self._origin is None:
            self._origin = self.start = own - following
        time = own - self._origin
        if self._last is not None and time < self._last:
            if self._last - time >= self._step:
                self._part += 1
                self._origin = own - following
                time = following
            else:
                time = self._last
        elif self._last is not None and time > self._last:
            self._step = time - self._last
        self._last = time
        return self._part, time
