"""The second step: which prompts are asked of which frame."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor

import numpy as np
from PIL import Image

from plantain.operators.geometry import Letterbox
from plantain.operators.prompts import Prompt
from plantain.operators.streams import Ease, Sampling, Start
from plantain.operators.types import Frame, FrameInfo, Request, Result

# Models work on a grid of so many pixels.
GRID = 32


@dataclass(slots=True)
class _Asked:
    """What is asked of a stream.

    Attributes:
        prompts: The most important first.
        cadences: Those that are not asked of every frame, and how often they are.
        count: Frames that came before, since the stream began.
        previous_pts: Time of the last of them; None where unknown.
        ease: What is given up just now.
    """

    prompts: tuple[Prompt, ...]
    cadences: dict[str, Sampling]
    count: int = 0
    previous_pts: int | None = None
    ease: Ease = field(default_factory=Ease)

    def next(self, frame: Frame) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
        """The prompts that are asked of the next frame, and those that would be but for overload."""
        info = frame.info
        due = tuple(prompt for prompt in self.prompts if self._is_due(str(prompt), info))
        is_spared = self.count % self.ease.frames != 0
        self.count += 1
        self.previous_pts = info.pts
        if is_spared:
            return (), due
        kept = {*self.prompts[: -(-len(self.prompts) // self.ease.tasks)]}
        return tuple(p for p in due if p in kept), tuple(p for p in due if p not in kept)

    def _is_due(self, prompt: str, info: FrameInfo) -> bool:
        """Decided by the frame's place and time alone, so that a repeated run asks the same."""
        cadence = self.cadences.get(prompt)
        if cadence is None:
            return True
        if self.count % cadence.every:
            return False
        if cadence.fps is None or info.pts is None or self.previous_pts is None:
            return True
        rate = Fraction(cadence.fps).limit_denominator(1_000_000) * info.time_base
        return floor(info.pts * rate) != floor(self.previous_pts * rate)


class Plan:
    """Joins each frame with those of its stream's prompts that are due."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    def open(self, start: Start) -> None:
        """Sets what is asked of a stream's frames from now on."""
        position = start.durable.position
        self._asked[start.spec.stream_id] = _Asked(
            start.prompts, dict(start.cadences), position.delivered, position.previous_pts
        )

    def change(self, start: Start) -> None:
        """Asks something else of the frames that are still to be read."""
        asked = self._asked[start.spec.stream_id]
        asked.prompts, asked.cadences = start.prompts, dict(start.cadences)

    def ease(self, stream_id: str, ease: Ease) -> None:
        """Gives something up from the next frame on, or takes it back."""
        self._asked[stream_id].ease = ease

    def __call__(self, frames: Iterable[Frame]) -> list[Request | Result]:
        """One request for each frame; of a frame that is asked nothing, a result without answers."""
        return [self._plan(frame) for frame in frames]

    def for_query(self, frames: Iterable[Frame], query_id: str, prompts: tuple[Prompt, ...]) -> list[Request]:
        """Requests that belong to a query and not to the frames' stream."""
        requests = [request_of(frame, prompts) for frame in frames]
        return [replace(each, header=replace(each.header, stream_id=query_id)) for each in requests]

    def close(self, stream_id: str | None = None) -> None:
        """Forgets one stream, or all."""
        for name in list(self._asked) if stream_id is None else [stream_id]:
            self._asked.pop(name, None)

    def _plan(self, frame: Frame) -> Request | Result:
        asked = self._asked[frame.header.stream_id]
        prompts, spared = asked.next(frame)
        if asked.ease.rung:
            frame = replace(frame, info=replace(frame.info, rung=asked.ease.rung))
            if asked.ease.shrink > 1 and prompts:
                frame = smaller(frame, asked.ease.shrink)
        request = request_of(frame, prompts)
        if spared:
            request = replace(request, header=replace(request.header, spared=tuple(map(str, spared))))
        return request if prompts else Result(request.header, frame.info, ())


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


def smaller(frame: Frame, shrink: int) -> Frame:
    """A frame on a canvas whose sides are about `shrink` times shorter, on the model's grid; 1 leaves it as it is."""
    fit = frame.info.fit
    model_hw = tuple(-(-side // (shrink * GRID)) * GRID for side in fit.model_hw)
    if model_hw[0] >= fit.model_hw[0] or model_hw[1] >= fit.model_hw[1]:
        return frame
    is_stretched = (fit.height, fit.width) == fit.model_hw
    small = Letterbox.fit(
        fit.source_hw, (model_hw[0], model_hw[1]), "stretch" if is_stretched else "letterbox"
    )
    picture = Image.fromarray(fit.crop(frame.image)).resize((small.width, small.height), Image.Resampling.BOX)
    image = np.ascontiguousarray(small.place(np.asarray(picture)))
    return Frame(frame.header, replace(frame.info, fit=small), image)
