"""Which frames of a stream are looked at, decided frame by frame."""

from __future__ import annotations

from fractions import Fraction
from math import floor

from plantain.operators.errors import UsageError
from plantain.operators.streams import Sampling


class Sampler:
    """Keeps frames as `Sampling` says; the first frame that it is shown is one that it keeps.

    Args:
        sampling: What to keep.
        delivered: Frames that were kept before, by an earlier reader.

    Attributes:
        num_kept: Frames kept so far, `delivered` included.

    Raises:
        UsageError: If the rate or the step is not positive.
    """

    def __init__(self, sampling: Sampling, delivered: int = 0) -> None:
        if sampling.every < 1 or (sampling.fps is not None and not sampling.fps > 0):
            raise UsageError(
                f"sampling needs fps above 0 and every from 1, not {sampling.fps} and {sampling.every}"
            )
        self._every = sampling.every
        self._max_frames = sampling.max_frames
        # 29.97002997 means 30000/1001 and 0.1 means 1/10: no tick may be missed by the last bit of a float.
        self._rate = None if sampling.fps is None else Fraction(sampling.fps).limit_denominator(1_000_000)
        self._last_tick: int | None = None
        self.num_kept = delivered

    @property
    def is_done(self) -> bool:
        """Whether no frame will be kept any more."""
        return self._max_frames is not None and self.num_kept >= self._max_frames

    def keeps(self, frame_index: int, time: Fraction) -> bool:
        """Whether this frame is looked at; frames are shown in order.

        Args:
            frame_index: Position in the stream.
            time: Seconds since its first frame.
        """
        if self.is_done:
            return False
        if self._last_tick is not None and frame_index % self._every:
            return False
        if self._rate is not None or self._last_tick is None:
            tick = floor(time * self._rate) if self._rate is not None else 0
            if self._last_tick is not None and tick <= self._last_tick:
                return False
            self._last_tick = tick
        self.num_kept += 1
        return True

    def estimate(self, num_frames: int | None, fps: float | None) -> int | None:
        """About how many frames of a stream of `num_frames` frames at `fps` are kept; None where unknown."""
        if num_frames is None:
            return self._max_frames
        kept = -(-num_frames // self._every)
        if self._rate is not None and fps:
            kept = min(kept, max(1, round(num_frames / fps * float(self._rate))))
        return kept if self._max_frames is None else min(kept, self._max_frames)
