"""When a camera's reader has fallen behind, and how it gets back to the present."""

from __future__ import annotations

# A reader that is further behind decodes keyframes only, which costs next to nothing, until it is nearly up to date.
MAX_BEHIND_S = 1.0
UP_TO_DATE_S = 0.25
# What was in buffers is read by then; a delay that is still there is the camera's own, and the new normal.
CATCH_UP_S = 2.0
# Clocks of cameras and machines drift apart by less.
MAX_DRIFT = 1e-3
# A time that jumps further is counted on another line.
MAX_JUMP_S = 10.0


class CatchingUp:
    """Tells from the times of packets whether a reader is behind: the least delay that was seen is that of the present.

    Buffers of the network and of the camera grow while a reader has no time (a stopped process, a machine that others
    use up), and without skipping it would stay behind for ever.
    """

    def __init__(self) -> None:
        self._least_s: float | None = None
        self._time_s = self._now_s = 0.0
        self._since_s: float | None = None

    def skips(self, time_s: float, now_s: float, *, is_keyframe: bool) -> bool:
        """Whether a packet is passed over; only a keyframe ends that, as nothing else can be decoded behind a gap.

        Args:
            time_s: When the packet is to be shown, seconds on the camera's line.
            now_s: On the monotonic clock.
            is_keyframe: Whether it can be decoded without others; it is never passed over.
        """
        behind_s = self._behind_s(time_s, now_s)
        if self._since_s is None:
            if behind_s > MAX_BEHIND_S:
                self._since_s = now_s
        elif is_keyframe:
            has_had_time = now_s - self._since_s > CATCH_UP_S
            if has_had_time:
                self._least_s = now_s - time_s
            if has_had_time or behind_s < UP_TO_DATE_S:
                self._since_s = None
        return self._since_s is not None and not is_keyframe

    def _behind_s(self, time_s: float, now_s: float) -> float:
        delay_s = now_s - time_s
        if self._least_s is None or abs(time_s - self._time_s) > MAX_JUMP_S:
            self._least_s = delay_s
        drift_s = MAX_DRIFT * (now_s - self._now_s)
        self._least_s = min(self._least_s + drift_s, delay_s)
        self._time_s, self._now_s = time_s, now_s
        return delay_s - self._least_s
