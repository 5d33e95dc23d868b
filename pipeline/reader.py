"""What a worker of the source stage runs: reading, and planning what each frame is asked."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from plantain.operators.plan import Plan
from plantain.operators.prompts import Prompt
from plantain.operators.read import Read
from plantain.operators.render.looks import Look
from plantain.operators.streams import Ease, ReadState, Start, StreamInfo
from plantain.operators.types import Request, Result


class PlannedReader:
    """Frames of streams as requests for the pools.

    Args:
        read: Gives the frames.
        plan: Says what they are asked.

    Attributes:
        laps: What the last calls were made of, as (part, seconds); whoever reads it clears it.
    """

    def __init__(self, read: Read, plan: Plan) -> None:
        self._read = read
        self._plan = plan
        self.laps: list[tuple[str, float]] = []

    def open(self, start: Start) -> StreamInfo:
        """Opens a stream, to be read and asked as its start says."""
        info = self._read.open(start)
        self._plan.open(start)
        return info

    def change(self, start: Start) -> None:
        """Asks something else of the frames that are still to be read."""
        self._plan.change(start)

    def ease(self, stream_id: str, ease: Ease) -> None:
        """Asks less of a stream, or all again."""
        self._plan.ease(stream_id, ease)

    def watch(self, stream_id: str, looks: Sequence[Look]) -> None:
        """Keeps the picture with each frame while somebody wants to see it."""
        self._read.watch(stream_id, looks)

    def wait(self, stream_ids: Sequence[str], timeout_s: float) -> None:
        """Sleeps until one of several cameras has a frame or has ended."""
        self._read.wait(stream_ids, timeout_s)

    def read(self, stream_id: str, max_frames: int) -> Sequence[Request | Result]:
        """What the next frames of a stream are asked."""
        begin = perf_counter()
        frames = self._read(stream_id, max_frames)
        read = perf_counter()
        planned = self._plan(frames)
        self.laps += [("read", read - begin), ("plan", perf_counter() - read)]
        return planned

    def peek(self, stream_id: str, query_id: str, prompts: tuple[Prompt, ...]) -> Sequence[Request]:
        """What a query asks of the newest frame of a stream; nothing if there is none yet."""
        return self._plan.for_query(self._read.peek(stream_id), query_id, stream_id, prompts)

    def state(self, stream_id: str) -> ReadState:
        """How far reading a stream has come."""
        return self._read.state(stream_id)

    def close(self, stream_id: str | None = None) -> None:
        """Closes one stream, or all."""
        self._read.close(stream_id)
        self._plan.close(stream_id)
