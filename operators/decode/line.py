"""One line of time through a file whose own time may go back or jump, as where recordings were joined end to end."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# FFmpeg's own measure for times that are not continuous (dts_delta_threshold), seconds. A picture an hour, or a screen
# that stands still, is no jump: steps of variable recordings differ by much less than the factor.
JUMP_S = 10
JUMP_FACTOR = 1000


def is_jump(step: Fraction | int, longest: Fraction | int, second: int = 1) -> bool:
    """Whether time has jumped between two pictures, and not only paused.

    It has where the step is longer than 10 s and more than 1,000 times as long as any before it: after 40 s at 25
    pictures a second, after 17 min at one, never in a time-lapse of one an hour that pauses for a week.

    Args:
        step: From one picture to the next.
        longest: The longest of the steps before it.
        second: How many of their units a second has.
    """
    return step > JUMP_S * second and step > JUMP_FACTOR * longest


class Line:
    """Seconds since a file's first picture, never backwards and without jumps.

    Where its time goes back by a picture or more, or jumps (`is_jump`, by the steps of the part, of which there must be
    one), a further part begins, after a step as long as the one before. A picture that comes after a jump and before a
    step back, as FFmpeg may give between joined recordings, is a part of its own, and what was known before it holds
    behind it. Only the times before a picture decide, so that it does not matter from where a file is read.

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
        self._longest: Fraction | None = None
        self._before: Fraction | None = None  # the longest of a part before
        self._is_alone = True  # the picture that came last, in its part
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
        if self._last is not None:
            step = time - self._last
            has_jumped = self._longest is not None and is_jump(step, self._longest)
            if has_jumped or -step >= self._step:
                self._part += 1
                self._origin = own - following
                self._before = self._before if self._longest is None else self._longest
                self._longest = self._before if self._is_alone and not has_jumped else None
                self._is_alone = True
                time = following
            elif step > 0:
                self._is_alone = False
                self._step = step
                self._longest = step if self._longest is None else max(self._longest, step)
            else:
                time = self._last
        self._last = time
        return self._part, time

    def pass_over(self, own: NDArray[np.int64], time_base: Fraction) -> None:
        """Places many pictures at once, the first ones of a file.

        Args:
            own: (N,), their presentation times in units of `time_base`, each greater than the one before.
            time_base: Seconds per unit.
        """
        if len(own) == 0:
            return
        self.place(int(own[0]) * time_base)
        steps = np.diff(own)
        done = 0
        # Of the steps between those that may be jumps, the longest and the last are all that matters.
        for at in [*np.flatnonzero(steps > int(JUMP_S / time_base)).tolist(), len(steps)]:
            if at > done:
                longest = int(steps[done:at].max()) * time_base
                self._longest = longest if self._longest is None else max(self._longest, longest)
                self._is_alone = False
                self._step = int(steps[at - 1]) * time_base
                self._last = int(own[at]) * time_base - (self._origin or 0)
            if at < len(steps):
                self.place(int(own[at + 1]) * time_base)
            done = at + 1
