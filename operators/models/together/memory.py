"""What was found about a stream a moment ago, for questions that need no new answer with each frame."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from plantain.operators.types import Frame

T = TypeVar("T")

# Streams come and go, and so do prompts: the oldest are forgotten.
MAX_KEPT = 4096


class Memory(Generic[T]):
    """Keeps values by stream and question for a while of the stream's own time.

    Args:
        every_s: For so long; 0 for not at all.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._kept: OrderedDict[tuple[str, int, str], tuple[float, T]] = OrderedDict()

    def get(self, frame: Frame, question: str) -> T | None:
        """What was found; None where there is nothing, or it is too old."""
        time_s, found = frame.info.time_s, self._kept.get(self._key(frame, question))
        if time_s is None or found is None or not found[0] <= time_s < found[0] + self._every_s:
            return None
        return found[1]

    def put(self, frame: Frame, question: str, value: T) -> None:
        """Keeps what was found."""
        time_s = frame.info.time_s
        if time_s is None or not self._every_s or frame.header.stream_id.startswith("?"):  # of a query
            return
        key = self._key(frame, question)
        self._kept[key] = (time_s, value)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def forget(self, stream_id: str) -> None:
        """Nothing is known about a stream any more."""
        for key in [key for key in self._kept if key[0] == stream_id]:
            del self._kept[key]

    @staticmethod
    def _key(frame: Frame, question: str) -> tuple[str, int, str]:
        return frame.header.stream_id, frame.header.epoch, question
