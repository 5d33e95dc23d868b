"""What a camera did not see: rows that say since when and until when it was away: "none" and "unknown" differ."""

from __future__ import annotations

from fractions import Fraction

from plantain.operators.geometry import Letterbox
from plantain.operators.health import FLOWING, REMARKS, HealthEvent, HealthState
from plantain.operators.streams import Start
from plantain.operators.types import CapturedBy, FrameInfo, Gap, Header, Prediction, Result, Timing

# A camera that is back sooner has missed nothing that is worth a row.
LEAST_NS = 1_000_000_000

STOPPED = "stopped"
"""Why nothing was seen where no state of the camera says so: Plantain, or what it had seen and not stored, was gone."""

_STOPPED_SENTENCE = "it was not being read, or what was seen could not be kept"

# After these nothing comes any more before the stream is opened again: what does was on its way already.
_LAST: frozenset[HealthState] = frozenset(("paused", "removed", "ended", "failed"))
# These are over with the next frame, whatever connection that is from.
_PASSING: frozenset[HealthState] = frozenset(("connecting", "silent"))


class Sight:
    """Until when the rows of one camera say what was there, and why they do not any more.

    Args:
        start: The stream.
        told: How it was when it was closed, if that is known.

    Attributes:
        prompts: What is asked of it: a gap has a row for each.
        seen_ns: Until when the rows say something, ns since 1970 UTC; None while nothing can be said.
    """

    def __init__(self, start: Start, told: HealthEvent | None = None) -> None:
        self.prompts = start.prompts
        self.seen_ns = start.durable.seen_ns
        self._stream_id = start.spec.stream_id
        self._epoch = start.durable.epoch - 1  # its first frame is of a connection that is new to us
        self._next = start.durable.epoch, 0
        self._since = told if self.seen_ns is not None else None  # the first state since something was seen
        self._is_known = self.seen_ns is None or told is not None
        self._away: HealthEvent | None = None  # the state that it is in, if nothing comes and something may
        self._lag_ns: int | None = None  # how soon after a picture was taken its answers were here at best
        self._size_hw = (0, 0)
        self._captured_by: CapturedBy = "arrival"

    def tell(self, event: HealthEvent) -> None:
        """Takes note of how the camera is."""
        if event.state in REMARKS:
            return
        if event.state in FLOWING:
            self._away = None
            return
        self._away = None if event.state in _LAST else event
        if self._since is None and self._is_known:
            self._since = event
        if self.seen_ns is None:
            self.seen_ns = event.at_ns

    def see(self, result: Result, now_ns: int) -> Result | None:
        """Takes note of a frame.

        Args:
            result: Its answers.
            now_ns: The clock on the wall.

        Returns:
            The gap before it; None if there is none.
        """
        header, at_ns = result.header, result.info.captured_ns
        if at_ns is None:
            return None
        is_new, is_newest = header.epoch > self._epoch, (header.epoch, header.frame_index) >= self._next
        is_back = is_newest and self._away is None and self.seen_ns is not None and at_ns < self.seen_ns
        if self._lag_ns is None or is_back or (is_newest and now_ns - at_ns < self._lag_ns):
            self._lag_ns = now_ns - at_ns
        told_ns = (
            at_ns if result.info.captured_by == "arrival" else at_ns + self._lag_ns
        )  # by the clock of events
        gap, is_past = None, self._since is not None and told_ns >= self._since.at_ns
        ends = is_new or (self._since is not None and self._since.state not in _LAST and is_past)
        if self.seen_ns is not None and at_ns - self.seen_ns >= LEAST_NS and ends:
            gap = self._gap((header.epoch, header.frame_index), self.seen_ns, at_ns)
        if (
            gap is not None
            or is_new
            or (self._since is not None and self._since.state in _PASSING and is_past)
        ):
            is_before = self._away is not None and told_ns < self._away.at_ns
            self._since, self._is_known = self._away if is_before else None, True
        self._epoch = max(header.epoch, self._epoch)
        self._next = max(self._next, (header.epoch, header.frame_index + 1))
        self._size_hw, self._captured_by = result.info.fit.source_hw, result.info.captured_by
        if is_newest and (self.seen_ns is None or at_ns > self.seen_ns or self._away is None):
            self.seen_ns = at_ns  # also where that is before: then the clock was set back
        return gap

    def look(self, now_ns: int) -> Result | None:
        """The gap until now, of a camera that is away; None if it is not.

        Args:
            now_ns: The clock on the wall; that of the camera is as far from it as it was last.
        """
        until_ns = now_ns - (self._lag_ns or 0)
        if self._away is None or self.seen_ns is None or until_ns - self.seen_ns < LEAST_NS:
            return None
        gap = self._gap(self._next, self.seen_ns, until_ns)
        self.seen_ns, self._since, self._is_known = until_ns, self._away, True
        return gap

    def _gap(self, position: tuple[int, int], since_ns: int, until_ns: int) -> Result:
        """The result that stands for a gap, in front of the frame at a position, whether that has come or not."""
        why = self._since
        state, sentence = (STOPPED, _STOPPED_SENTENCE) if why is None else (why.state, why.sentence)
        gap = Gap(state, sentence, retryable=False, until_ns=until_ns)
        height, width = self._size_hw
        fit = Letterbox(self._size_hw, self._size_hw, 0, 0, height, width)
        info = FrameInfo(None, Fraction(1), since_ns, self._captured_by, fit)
        predictions = tuple(Prediction(prompt, gap, "", "", Timing()) for prompt in self.prompts)
        return Result(Header(self._stream_id, *position), info, predictions)
