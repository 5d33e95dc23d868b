"""The second step: which prompts are asked of which frame."""

from __future__ import annotations

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

    def __call__(self, frames: Iterable[Frame]) -> list[Request]:
        """One request for each frame.

        The batch key is what a forward pass needs to be equal, the canvas, and never the task or the stream.
        """
        requests = []
        for frame in frames:
            prompts = self._prompts[frame.header.stream_id]
            height, width = frame.info.fit.model_hw
            header = replace(frame.header, batch_key=f"{width}x{height}", cost=len(prompts))
            requests.append(Request(header, frame, prompts))
        return requests

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        for name in list(self._prompts) if stream_id is None else [stream_id]:
            self._prompts.pop(name, None)
