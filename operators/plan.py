"""The second step: which prompts are asked of which frame."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from operators.prompts import Prompt
from operators.sources.base import Start
from operators.types import Frame, Request


class Plan:
    """Joins each frame with its stream's prompts."""

    def __init__(self) -> None:
        self._prompts: dict[str, tuple[Prompt, ...]] = {}

    def open(self, start: Start) -> None:
        """Sets what is asked of a stream's frames from now on."""
        self._prompts[start.spec.stream_id] = start.prompts

    def change(self, start: Start) -> None:
        """Asks something else of the frames that are still to be read."""
        self._prompts[start.spec.stream_id] = start.prompts

    def __call__(self, frames: Iterable[Frame]) -> list[Request]:
        """One request for each frame."""
        return [request_of(frame, self._prompts[frame.header.stream_id]) for frame in frames]

    def for_query(self, frames: Iterable[Frame], query_id: str, prompts: tuple[Prompt, ...]) -> list[Request]:
        """Requests that belong to a query and not to the frames' stream."""
        requests = [request_of(frame, prompts) for frame in frames]
        return [replace(each, header=replace(each.header, stream_id=query_id)) for each in requests]

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        for name in list(self._prompts) if stream_id is None else [stream_id]:
            self._prompts.pop(name, None)


def request_of(frame: Frame, prompts: tuple[Prompt, ...]) -> Request:
    """What a frame is asked.

    The batch key is what a forward pass needs to be equal, the canvas, and never the task or the stream.
    """
    height, width = frame.info.fit.model_hw
    age_s = 0.0
    if frame.info.captured_ns is not None and frame.info.captured_by != "file":
        age_s = max(0.0, (time.time_ns() - frame.info.captured_ns) / 1e9)
    header = replace(
        frame.header,
        batch_key=f"{width}x{height}",
        cost=len(prompts),
        prompts=tuple(map(str, prompts)),
        age_s=age_s,
    )
    return Request(header, frame, prompts)
