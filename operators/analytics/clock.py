"""How much time passes between the results of a stream, whatever its timestamps do."""

from __future__ import annotations

from plantain.operators.types import CapturedBy, Moment, Result

# For containers that give no times (raw H.264): the rate that most cameras have.
NOMINAL_FPS = 25.0
# What is taken to have passed where nothing tells: long enough for everything to have changed.
UNKNOWN_S = 3600.0

# As JSON: now, and of the last result epoch, frame, presentation time, capture time, and who says so.
Written = tuple[float, int, int, float | None, int | None, CapturedBy]


class StreamClock:
    """Seconds since the first result of a stream; never goes back.

    Within one connection presentation times tell, in a file on its line, which never goes back. A camera's begin anew
    with the next one, so capture times tell what passed between two, where the same clock gave both.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self._last: Moment | None = None
        self._captured_by: CapturedBy = "file"

    def advance(self, result: Result) -> float:
        """The time of a result, seconds."""
        header, info, captured_by = result.header, result.info, result.info.captured_by
        moment = Moment(header.epoch, header.frame_index, info.line_s, info.captured_ns)
        if self._last is not None:
            is_same_clock = captured_by == self._captured_by
            is_joined = is_same_clock and captured_by == "file" and info.shift_s != 0
            self._now_s += max(0.0, self._passed(self._last, moment, is_same_clock, is_joined))
        self._last, self._captured_by = moment, captured_by
        return self._now_s

    def write(self) -> Written | None:
        """What it knows, for JSON; None before the first result."""
        last = self._last
        if last is None:
            return None
        return self._now_s, last.epoch, last.frame_index, last.time_s, last.captured_ns, self._captured_by

    @classmethod
    def read(cls, written: Written | None) -> StreamClock:
        """The clock that wrote this."""
        clock = cls()
        if written is not None:
            clock._now_s, epoch, frame_index, time_s, captured_ns, clock._captured_by = written
            clock._last = Moment(epoch, frame_index, time_s, captured_ns)
        return clock

    @staticmethod
    def _passed(before: Moment, after: Moment, is_same_clock: bool, is_joined: bool) -> float:
        is_same_epoch = is_joined or before.epoch == after.epoch
        if is_same_epoch and before.time_s is not None and after.time_s is not None:
            return after.time_s - before.time_s
        if is_same_clock and before.captured_ns is not None and after.captured_ns is not None:
            return (after.captured_ns - before.captured_ns) / 1e9
        if is_same_epoch:
            return (after.frame_index - before.frame_index) / NOMINAL_FPS
        return UNKNOWN_S
