"""Times of 33 bits told on: transport and program streams count to 26.5 hours, and then from 0 again."""

from __future__ import annotations

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from plantain.operators.decode.line import JUMP_S, is_jump

JOINABLE = frozenset(("mpegts", "mpeg"))
"""Containers that still play when their bytes are put one behind the other; they count to 2^33 at 90 kHz."""

_CLOCK_HZ = 90_000
_FULL = 2**33


class Wrap:
    """Puts right what FFmpeg makes of times that went back.

    It takes a time that lies more than a minute before the first one for a clock that was full, and adds 26.5 hours.
    That is so only where time then goes on as it did (`is_jump`); where it does not, recordings were joined, and each
    has its own time. A clock that fills more than once goes on, too.

    Args:
        container: Whose packets.
    """

    def __init__(self, container: InputContainer) -> None:
        self._is_due = container.format.name in JOINABLE
        self._base = 0
        self._last: int | None = None
        self._longest = 0

    def put_right(self, packet: Packet[VideoStream]) -> bool:
        """Sets the times of the stream's next packet; whether they were not what FFmpeg said."""
        told = packet.pts if packet.dts is None else packet.dts
        if not self._is_due or told is None:
            return False
        raw = told % _FULL
        if self._last is None:
            self._base = told - raw
        else:
            self._go_on(raw - self._last)
        self._last = raw
        by = raw + self._base - told
        if packet.dts is not None:
            packet.dts += by
        if packet.pts is not None:
            own = packet.pts + by
            ahead = own - (told + by)  # of one clock, a little more or less
            own -= _FULL * round(ahead / _FULL)
            is_other = own != packet.pts
            packet.pts = own
            return is_other
        return by != 0

    def _go_on(self, step: int) -> None:
        """Takes note of how far the clock has moved, as it stands in the file."""
        if step < -_FULL // 2 and not is_jump(step + _FULL, self._longest, _CLOCK_HZ):
            self._base += _FULL
            step += _FULL
        elif _FULL - step < JUMP_S * _CLOCK_HZ:  # a little back, over the place where it was full
            self._base -= _FULL
            step -= _FULL
        elif step < 0 and is_jump(-step, self._longest, _CLOCK_HZ):
            self._base = 0
            step = 0
        elif self._longest and is_jump(step, self._longest, _CLOCK_HZ):
            self._base = min(0, self._base)
            self._longest = step = 0
        self._longest = max(self._longest, step)
