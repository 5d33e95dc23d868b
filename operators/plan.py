"""The second step: which prompts are asked of which frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from operators.prompts import Prompt
from operators.types import Frame, Request


class Plan:
    """Joins each frame with its stream's prompts."""

    def __init__(self) -> None:
        self._prompts: dict[str, tuple[Prompt, ...]] = {}

    def open(self, stream_id: str, prompts: tuple[Prompt, ...]) -> None:
        """Sets what is asked of a stream's frames from now on."""
        self._prompts[stream_id] = prompts

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

    def close(self, stream_id: str) -> None:
        """Forgets a stream."""
        self._prompts.pop(stream_id, None)
