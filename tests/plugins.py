"""What a user of Plantain might bring: a model and a source of their own, named by dotted path."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plantain.operators.errors import ModelUnavailableError
from plantain.operators.models.base import ModelSpec, Pixels
from plantain.operators.models.fake import FakeModel
from plantain.operators.prompts import Prompt
from plantain.operators.segments import Position
from plantain.operators.sources.file.source import FileSource
from plantain.operators.sources.live.pictures import PictureSource
from plantain.operators.streams import StreamSpec, View
from plantain.operators.types import Frame
from tests.assets.clips import number_of


class PickyModel(FakeModel):
    """Answers numbered pictures (`tests.assets.clips`), except for some.

    Args:
        refuses: Numbers, separated by commas, that raise.
        cost_ms: Time that a batch takes, milliseconds.
        sign: A file that is there as soon as a batch is drawn; none if empty.
    """

    name = "picky"
    fingerprint = "picky-1"
    spec = ModelSpec(model_hw=(48, 64))

    def __init__(self, refuses: str = "", cost_ms: float = 0.0, sign: str = "") -> None:
        super().__init__()
        self._refuses = {int(number) for number in refuses.split(",") if number}
        self._pause_s = cost_ms / 1e3
        self._sign = Path(sign) if sign else None

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        if self._sign is not None:
            self._sign.touch()
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


class Cam(PictureSource):
    """A camera without a network: small pictures, so many a second.

    The URL is `cam://RATE`.
    """

    def pictures(self, spec: StreamSpec) -> Iterator[NDArray[np.uint8]]:
        fps, begin = float(spec.url.removeprefix("cam://")), time.monotonic()
        for number in itertools.count():
            if self._stop.wait(max(0.0, begin + number / fps - time.monotonic())):
                return
            yield np.full((48, 64, 3), number % 256, np.uint8)


class HeavyModel(FakeModel):
    """Takes time for each drawing, and less for a smaller one.

    Args:
        cost_ms: Of a drawing at full size, milliseconds.
    """

    name = "heavy"
    fingerprint = "heavy-1"
    spec = ModelSpec(model_hw=(96, 128))

    def __init__(self, cost_ms: float) -> None:
        super().__init__()
        self._cost_s = 0.0
        self._full_cost_s = cost_ms / 1e3

    def render(self, images: Pixels, image_of: Sequence[int], prompts: Sequence[Prompt]) -> Pixels:
        share = images.shape[1] * images.shape[2] / (self.spec.model_hw[0] * self.spec.model_hw[1])
        time.sleep(self._full_cost_s * share * len(prompts))
        return super().render(images, image_of, prompts)


class Unavailable:
    """A backend that cannot run on any machine of today."""

    def __init__(self, refuses: str = "") -> None:
        raise ModelUnavailableError("this model needs a quantum computer")


class Lenient:
    """Takes none where its annotation names a number, as many do."""

    def __init__(self, above: float = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
        self.above = above
