"""Frames that a camera, or the network, had held back and brings all at once."""

from __future__ import annotations

# Cameras pause for half a second around their large pictures; what is held back longer was not there to be worked on.
HELD_BACK_S = 0.5
# A time that jumps further is counted on another line.
MAX_JUMP_S = 10.0


class HeldBack:
    """Tells frames that come in a burst after a silence from those that come in their time.

    Nobody can work on a frame before it is there: what is lost of a burst says nothing about how fast the work is. What
    counts is how long a connection made its reader wait for a picture, against how far the pictures' time moved on
    meanwhile; a reader that is slow itself waits for nothing.

    Attributes:
        is_bursting: What comes just now was held back.
    """

    def __init__(self) -> None:
        self._debt_s = 0.0
        self.is_bursting = False

    def take(self, waited_s: float, moved_s: float) -> None:
        """A picture came.

        Args:
            waited_s: For it, without the time that its decoding took, seconds.
            moved_s: By how much its time is after that of the picture before it, seconds.
        """
        held_s = waited_s - moved_s
        if not 0 <= moved_s <= MAX_JUMP_S:
            self._debt_s = 0.0
        elif held_s > HELD_BACK_S:
            self._debt_s += held_s
        elif held_s >= 0:  # it is waited for again: the burst is over
            self._debt_s = 0.0
        else:
            self._debt_s = max(0.0, self._debt_s + held_s)
        self.is_bursting = self._debt_s > 0
