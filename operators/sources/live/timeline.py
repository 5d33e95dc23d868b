"""One line of time through all connections of a camera, for sampling by rate."""

from __future__ import annotations

from fractions import Fraction


class Timeline:
    """Seconds since a stream began, never backwards, from times that begin anew or jump.

    Within a connection the pictures' own times count, as they do not shiver with the network. Across connections, and
    where these times are missing, stand still or jump back, the clock on the wall puts pictures in line.
    """

    def __init__(self) -> None:
        self._anchor: tuple[int, Fraction] | None = None
        self._last_pts: int | None = None
        self._last = Fraction(0)

    def begin(self) -> None:
        """Forgets the times of the last connection."""
        self._anchor = None
        self._last_pts = None

    def place(self, pts: int | None, time_base: Fraction, elapsed_s: float) -> tuple[Fraction, float]:
        """Where a picture stands, and how far its time went back.

        Args:
            pts: Its presentation time, None where unknown.
            time_base: Seconds per unit of it.
            elapsed_s: Since the stream began, by the clock on the wall.

        Returns:
            Its time in seconds, and by how many seconds its pts is before that of the picture before it, else 0.
        """
        elapsed = Fraction(round(elapsed_s * 1000), 1000)
        back_s = 0.0
        if pts is None:
            self._anchor = None
            time = elapsed
        else:
            if self._last_pts is not None and pts <= self._last_pts:
                # Standing still counts too: sampling by rate would wait for the next tick for ever.
                back_s = float((self._last_pts - pts) * time_base)
                self._anchor = None
            if self._anchor is None:
                self._anchor = pts, max(self._last, elapsed)
            self._last_pts = pts
            time = self._anchor[1] + (pts - self._anchor[0]) * time_base
        self._last = max(self._last, time)
        return self._last, back_s
