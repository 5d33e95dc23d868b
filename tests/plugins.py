"""What a user of Plantain might bring: a model and a source of their own, named by dotted path."""

from __future__ import annotations

import time
from collections.abc import Sequence

from operators.errors import ModelUnavailableError
from operators.models.base import Pixels
from operators.models.fake import FakeModel
from operators.prompts import Prompt
from operators.sources.base import StreamSpec, View
from operators.sources.file import FileSource
from operators.types import Frame, Position
from tests.assets.clips import number_of


class PickyModel(FakeModel):
    """Answers numbered pictures (`tests.assets.clips`), except for some.

    Args:
        refuses: Numbers, separated by commas, that raise.
        cost_ms: Time that a batch takes, milliseconds.
    """

    name = "picky"
    fingerprint = "picky-1"
    model_hw = (48, 64)

    def __init__(self, refuses: str = "", cost_ms: float = 0.0) -> None:
        super().__init__()
        self._refuses = {int(number) for number in refuses.split(",") if number}
        self._pause_s = cost_ms / 1e3

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        time.sleep(self._pause_s)
        for image in images:
            if (number := number_of(image)) in self._refuses:
                raise ValueError(f"I will not look at {number}")
        return super().render(images, image_of, prompts)


class TornSource(FileSource):
    """A file that breaks at frame 13, wherever reading begins."""

    def __init__(self, spec: StreamSpec, view: View, position: Position) -> None:
        super().__init__(spec, view, position)
        self._left = 13 - position.frame_index

    def read(self, max_frames: int) -> list[Frame]:
        if self._left <= 0:
            raise OSError("the tape is torn")
        frames = super().read(min(max_frames, self._left))
        self._left -= len(frames)
        return frames


class Unavailable:
    """A backend that cannot run on any machine of today."""

    def __init__(self, refuses: str = "") -> None:
        raise ModelUnavailableError("this model needs a quantum computer")
